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

{{- /* Pods that measure go to nodes with the GPU; takes the root context and a GPU type, if any. */ -}}
{{- define "model-placer.placeOnGpuNodes" -}}
{{- with .root.Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- $product := dict -}}
{{- with .type }}{{ $product = dict "nvidia.com/gpu.product" .product }}{{ end -}}
{{- with mergeOverwrite (deepCopy .root.Values.nodeSelector) $product }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Memory, CPU and the GPU of the container that measures; takes root and a GPU type, if any. */ -}}
{{- define "model-placer.resources" -}}
{{- $resources := deepCopy .root.Values.resources -}}
{{- if gt (int .root.Values.gpu.count) 0 -}}
{{- $resource := .root.Values.gpu.resource -}}
{{- with .type }}{{ $resource = .resource | default $resource }}{{ end -}}
{{- $limits := mergeOverwrite (dict) ($resources.limits | default dict) (dict $resource (int .root.Values.gpu.count)) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}

{{- /* A container of our image; takes the root context, its name, arguments, resources and mounts. */ -}}
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
  {{- range .mounts }}
  - {{ include (printf "model-placer.mount.%s" .) $.root | nindent 4 | trim }}
  {{- end }}
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{- define "model-placer.mount.config" -}}
name: config
mountPath: /etc/model-placer
readOnly: true
{{- end -}}

{{- define "model-placer.mount.models" -}}
name: models
mountPath: /models
readOnly: true
{{- with .Values.models.subPath }}
subPath: {{ . }}
{{- end }}
{{- end -}}

{{- define "model-placer.mount.store" -}}
name: store
mountPath: /store
{{- with .Values.store.subPath }}
subPath: {{ . }}
{{- end }}
{{- end -}}

{{- define "model-placer.mount.serving" -}}
name: serving
mountPath: /serving
{{- end -}}

{{- define "model-placer.mount.shared-memory" -}}
name: shared-memory
mountPath: /dev/shm
{{- end -}}

{{- /* The volumes of a pod; takes the root context and their names. */ -}}
{{- define "model-placer.volumes" -}}
{{- range .names }}
- name: {{ . }}
  {{- include (printf "model-placer.volume.%s" .) $.root | nindent 2 }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- end -}}

{{- define "model-placer.volume.config" -}}
configMap:
  name: {{ include "model-placer.name" . }}
{{- end -}}

{{- define "model-placer.volume.models" -}}
{{- include "model-placer.modelsVolume" . }}
{{- end -}}

{{- define "model-placer.volume.store" -}}
persistentVolumeClaim:
  claimName: {{ include "model-placer.storeClaim" . }}
{{- end -}}

{{- define "model-placer.volume.serving" -}}
persistentVolumeClaim:
  claimName: {{ .Values.serving.existingClaim }}
{{- end -}}

{{- define "model-placer.volume.shared-memory" -}}
emptyDir:
  medium: Memory
  sizeLimit: {{ .Values.sharedMemory }}
{{- end -}}

{{- /* The two steps after the measuring, without a GPU: an init container, and the last one. */ -}}
{{- define "model-placer.place" -}}
{{- $args := list "place" "--config-file=/etc/model-placer/model-placer.yaml" -}}
{{- include "model-placer.container" (dict "root" . "name" "place" "args" $args "resources" (toYaml .Values.placeResources) "mounts" (list "config" "store")) }}
{{- end -}}

{{- define "model-placer.export" -}}
{{- $args := list "export" "--config-file=/etc/model-placer/model-placer.yaml" "/store/layout.yaml" -}}
{{- $mounts := list "config" "models" "store" -}}
{{- if .Values.serving.enabled }}{{ $mounts = append $mounts "serving" }}{{ end -}}
{{- include "model-placer.container" (dict "root" . "name" "export" "args" $args "resources" (toYaml .Values.placeResources) "mounts" $mounts) }}
{{- end -}}

{{- /* What the pod needs that ends with these steps. */ -}}
{{- define "model-placer.lastVolumes" -}}
{{- $names := list "config" "models" "store" -}}
{{- if .root.Values.serving.enabled }}{{ $names = append $names "serving" }}{{ end -}}
{{- include "model-placer.volumes" (dict "root" .root "names" (concat $names (.more | default list))) }}
{{- end -}}
