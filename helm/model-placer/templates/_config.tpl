{{- /* model-placer.yaml: the values' sections, and the paths that this chart mounts. */ -}}
{{- define "model-placer.config" -}}
{{- /* The GPU or slice that the pod was given; one that cannot be read is an error, not the CPU. */ -}}
{{- $profile := dict "gpus" (ternary "none" "first" (eq (int .Values.gpu.count) 0)) -}}
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
