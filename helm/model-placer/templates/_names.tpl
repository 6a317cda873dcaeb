{{- define "model-placer.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "model-placer.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "model-placer.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "model-placer.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "model-placer.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "model-placer.storeClaim" -}}
{{- .Values.store.existingClaim | default (printf "%s-store" (include "model-placer.name" .)) -}}
{{- end -}}

{{- /* A Job's pod template cannot be changed: each revision of the release has Jobs of its own. */ -}}
{{- define "model-placer.job" -}}
{{- printf "%s-%d" (include "model-placer.name" .) (.Release.Revision | int) -}}
{{- end -}}

{{- /* Where a shard keeps its rows; takes the GPU type's key, the index and how many there are. */ -}}
{{- define "model-placer.shardStore" -}}
{{- printf "/store/shards/%s%v-of-%d.db" (ternary "" (printf "%s-" .key) (empty .key)) .index .count -}}
{{- end -}}

{{- /* Marks of finished shards: those of another revision or another sweep do not count. */ -}}
{{- define "model-placer.shardMark" -}}
{{- $values := .root.Values -}}
{{- $sweep := printf "%s %d %v" (toJson $values.config) (int $values.shards.count) $values.models | sha256sum | trunc 8 -}}
{{- printf "/store/shards/%s-%s/%s%v.done" (include "model-placer.job" .root) $sweep (ternary "" (printf "%s-" .key) (empty .key)) .index -}}
{{- end -}}
