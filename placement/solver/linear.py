"""How linear and mixed integer programs are run: with a deadline, and Ctrl-C left to the caller."""

from __future__ import annotations

from typing import Any

from placement.solver.result import Deadline

# SCIP would take the signal for itself, end that one solve, and the search would go on.
CTRL_C = "misc/catchctrlc = FALSE\n"


def run(mip: Any, deadline: Deadline, gap: float, settings: str = "") -> Any:
    """The status of a pywraplp solver that ran until the relative gap or the deadline was reached.

    `settings`: of SCIP, a line each.
    """
    from ortools.linear_solver import pywraplp

    if mip.SolverVersion().startswith("SCIP"):
        mip.SetSolverSpecificParametersAsString(CTRL_C + settings)
    parameters = pywraplp.MPSolverParameters()
    parameters.SetDoubleParam(pywraplp.MPSolverParameters.RELATIVE_MIP_GAP, gap)
    mip.SetTimeLimit(int(1000 * deadline.left_s) + 1)
    deadline.watch(mip.InterruptSolve)
    try:
        return mip.Solve(parameters)
    finally:
        deadline.unwatch(mip.InterruptSolve)
