"use strict";
(() => {
  const panel = document.getElementById("row");

  // A model's figures in a large report are compressed until it is opened.
  const unfold = async (details) => {
    const folded = details.querySelector(":scope > script.folded");
    if (!folded) return;
    const body = document.createElement("div");
    folded.replaceWith(body);
    const bytes = Uint8Array.from(atob(folded.textContent), (letter) => letter.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    body.innerHTML = await new Response(plain).text();
    ready(body);
  };
  document.addEventListener("toggle", (event) => event.target.open && unfold(event.target), true);

  // The whole row of the mark that is pointed at.
  const rowOf = (mark) => {
    const figures = mark.closest("[data-rows]");
    const table = figures && document.getElementById(figures.dataset.rows);
    return table && table.tBodies[0].rows[Number(mark.dataset.row)];
  };
  let now = null;
  const hide = () => {
    panel.hidden = true;
    if (now) now.classList.remove("at");
    now = null;
  };
  const show = (mark) => {
    if (mark === now) return;
    hide();
    const row = rowOf(mark);
    if (!row) return;
    const list = document.createElement("dl");
    [...row.cells].forEach((cell, number) => {
      if (cell.textContent === "–" || !cell.textContent) return;
      const name = document.createElement("dt");
      const value = document.createElement("dd");
      name.textContent = row.closest("table").tHead.rows[0].cells[number].textContent;
      value.textContent = cell.textContent;
      list.append(name, value);
    });
    panel.replaceChildren(list);
    panel.hidden = false;
    now = mark;
    mark.classList.add("at");
    const at = mark.getBoundingClientRect();
    const size = panel.getBoundingClientRect();
    const right = at.right + 12 + size.width < innerWidth;
    panel.style.left = `${Math.max(4, right ? at.right + 12 : at.left - 12 - size.width)}px`;
    panel.style.top = `${Math.max(4, Math.min(at.top, innerHeight - size.height - 8))}px`;
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-row]");
    if (mark) show(mark);
    else if (now && !now.closest("svg").contains(document.activeElement)) hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const svg = document.activeElement;
    if (!step || !svg || !svg.matches(".figures .figure")) return;
    const marks = [...svg.querySelectorAll("[data-row]")];
    if (!marks.length) return;
    event.preventDefault();
    const at = marks.indexOf(now);
    show(marks[at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length]);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, { passive: true });
  const ready = (part) => part.querySelectorAll(".figures .figure").forEach((svg) => svg.setAttribute("tabindex", "0"));
  ready(document);

  // Sort: by the column's button, again for the other way.
  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, number) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const text = row.cells[number].textContent;
        const figure = Number(text);
        return text === "–" ? -Infinity : Number.isNaN(figure) ? text : figure;
      };
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    }));
  });

  // Filter: words that a model's or device's name has.
  const words = document.getElementById("words");
  const doubtful = document.getElementById("doubtful");
  const items = [...document.querySelectorAll(".item")];
  const filter = () => {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    items.forEach((item) => {
      const name = item.dataset.name.toLowerCase();
      const device = item.classList.contains("device");
      const fits = asked.every((word) => name.includes(word)) && (device || !doubtful.checked || item.classList.contains("doubt"));
      item.classList.toggle("out", !fits);
      shown += fits && item.classList.contains("model") ? 1 : 0;
    });
    document.getElementById("shown").textContent = asked.length || doubtful.checked ? `${shown} models` : "";
  };
  words.addEventListener("input", filter);
  doubtful.addEventListener("change", filter);
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());

  // A link to a model or device opens it; on paper all is open, unless it would be thousands.
  const open = () => {
    const item = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (item && item.matches("details")) item.open = true;
  };
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => {
    if (!document.querySelector("script.folded")) document.querySelectorAll("details").forEach((part) => { part.open = true; });
  });
})();
