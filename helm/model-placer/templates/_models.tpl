{{- /* Where the model repository comes from: one source, said in so many words otherwise. */ -}}
{{- define "model-placer.checkModels" -}}
{{- $sources := list -}}
{{- with .Values.models.existingClaim }}{{ $sources = append $sources "models.existingClaim" }}{{ end -}}
{{- with .Values.models.hostPath }}{{ $sources = append $sources "models.hostPath" }}{{ end -}}
{{- with .Values.models.objectStore.uri }}{{ $sources = append $sources "models.objectStore.uri" }}{{ end -}}
{{- if .Values.models.create.enabled }}{{ $sources = append $sources "models.create.enabled" }}{{ end -}}
{{- if ne (len $sources) 1 -}}
{{- fail (printf "The models come from one place: set one of models.existingClaim, models.hostPath, models.objectStore.uri and models.create.enabled; set now: %s." (join ", " $sources | default "none")) -}}
{{- end -}}
{{- end -}}

{{- define "model-placer.modelsVolume" -}}
{{- if .Values.models.hostPath -}}
hostPath:
  path: {{ .Values.models.hostPath }}
  type: Directory
{{- else if .Values.models.objectStore.uri -}}
emptyDir:
  sizeLimit: {{ .Values.models.objectStore.sizeLimit }}
{{- else -}}
persistentVolumeClaim:
  claimName: {{ .Values.models.existingClaim | default (printf "%s-models" (include "model-placer.name" .)) }}
{{- end -}}
{{- end -}}

{{- /* rclone's name of the place: a remote that takes its account from the environment. */ -}}
{{- define "model-placer.remote" -}}
{{- $parts := regexSplit "://" .Values.models.objectStore.uri 2 -}}
{{- $backend := get (dict "s3" "s3" "gs" "gcs" "az" "azureblob") (first $parts) -}}
{{- printf ":%s,env_auth:%s" $backend (last $parts) -}}
{{- end -}}

{{- define "model-placer.sync" -}}
name: fetch-models
image: {{ .Values.models.objectStore.image | quote }}
args: [copy, {{ include "model-placer.remote" . | quote }}, /models, --config=, --cache-dir=/tmp, --stats=1m, --stats-one-line]
env:
  - name: HOME
    value: /tmp
  {{- with .Values.models.objectStore.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.models.objectStore.secret }}
envFrom:
  - secretRef:
      name: {{ . }}
{{- end }}
resources:
  {{- toYaml .Values.placeResources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - name: models
    mountPath: /models
  - name: tmp
    mountPath: /tmp
{{- end -}}
