{{- /* What all pods have in common. */ -}}
{{- define "model-placer.pod" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "model-placer.serviceAccount" . }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.job.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{- /* Pods that measure go to nodes with the GPU. */ -}}
{{- define "model-placer.placeOnGpuNodes" -}}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Memory, CPU and the GPU of the container that measures. */ -}}
{{- define "model-placer.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if gt (int .Values.gpu.count) 0 -}}
{{- $limits := mergeOverwrite (dict) ($resources.limits | default dict) (dict .Values.gpu.resource (int .Values.gpu.count)) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}

{{- /* A container of our image; takes the root context, its name, arguments and resources. */ -}}
{{- define "model-placer.container" -}}
name: {{ .name }}
image: {{ include "model-placer.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  {{- range .args }}
  - {{ . | quote }}
  {{- end }}
env:
  - name: HOME
    value: /tmp
resources:
  {{- .resources | nindent 2 }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/model-placer
    readOnly: true
  - name: models
    mountPath: /models
    readOnly: true
    {{- with .root.Values.models.subPath }}
    subPath: {{ . }}
    {{- end }}
  - name: store
    mountPath: /store
    {{- with .root.Values.store.subPath }}
    subPath: {{ . }}
    {{- end }}
  {{- if .root.Values.serving.enabled }}
  - name: serving
    mountPath: /serving
  {{- end }}
  - name: tmp
    mountPath: /tmp
  - name: shared-memory
    mountPath: /dev/shm
{{- end -}}

{{- define "model-placer.volumes" -}}
- name: config
  configMap:
    name: {{ include "model-placer.name" . }}
- name: models
  {{- include "model-placer.modelsVolume" . | nindent 2 }}
- name: store
  persistentVolumeClaim:
    claimName: {{ include "model-placer.storeClaim" . }}
{{- if .Values.serving.enabled }}
- name: serving
  persistentVolumeClaim:
    claimName: {{ .Values.serving.existingClaim }}
{{- end }}
- name: tmp
  emptyDir: {}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.sharedMemory }}
{{- end -}}
