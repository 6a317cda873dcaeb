{{- /* model-placer.yaml: the values' sections, and the paths that this chart mounts. */ -}}
{{- define "model-placer.config" -}}
{{- /* A slice has no plain index; a whole GPU that cannot be read is an error, not the CPU. */ -}}
{{- $gpus := ternary "auto" "0" (contains "/mig-" .Values.gpu.resource) -}}
{{- $profile := dict "gpus" (ternary "none" $gpus (eq (int .Values.gpu.count) 0)) -}}
{{- $place := dict "output" "/store/layout.yaml" -}}
{{- $output := ternary "/serving" "/store/deploy" .Values.serving.enabled -}}
{{- $export := dict "output" $output "format" (list "triton" "kubernetes") "copy" .Values.serving.enabled -}}
{{- if .Values.serving.tritonImage -}}
{{- $_ := set $export "triton_image" .Values.serving.tritonImage -}}
{{- end -}}
{{- $document := dict
      "store" "/store/profiles.db"
      "model_repository" "/models"
      "layout" "/store/layout.yaml"
      "profile" (mergeOverwrite $profile (deepCopy .Values.config.profile))
      "place" (mergeOverwrite (dict) (deepCopy .Values.config.place) $place)
      "export" (mergeOverwrite (dict) (deepCopy .Values.config.export) $export) -}}
{{ toYaml $document }}
{{- end -}}
