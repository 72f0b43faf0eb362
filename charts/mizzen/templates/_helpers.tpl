{{- /* Labels that never change: selectors are immutable. */ -}}
{{- define "mizzen.selector" -}}
app.kubernetes.io/name: mizzen
{{- end -}}

{{- /* Of the pods: a new version of the chart alone replaces none of them. */ -}}
{{- define "mizzen.podLabels" -}}
{{ include "mizzen.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: control-plane
app.kubernetes.io/part-of: mizzen
{{- end -}}

{{- define "mizzen.labels" -}}
{{ include "mizzen.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mizzen.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mizzen.initImage" -}}
{{ .Values.init.image | default (printf "mizzen/init:%s" .Chart.AppVersion) }}
{{- end -}}

{{- /* What users write: a YAML object of API group -> list of plurals, read from the CRDs that the chart carries. */ -}}
{{- define "mizzen.meshKinds" -}}
{{- $groups := dict -}}
{{- range $path, $_ := .Files.Glob "files/crds/*.yaml" -}}
{{- $spec := (fromYaml ($.Files.Get $path)).spec -}}
{{- if ne $spec.group "mizzen.dev" -}}
{{- $plurals := get $groups $spec.group | default list -}}
{{- $_ := set $groups $spec.group (append $plurals $spec.names.plural | sortAlpha) -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}

{{- define "mizzen.affinity" -}}
{{- if .Values.affinity -}}
{{- toYaml .Values.affinity -}}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "mizzen.selector" . | nindent 12 }}
    - weight: 50
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels:
            {{- include "mizzen.selector" . | nindent 12 }}
{{- end -}}
{{- end -}}
