{{- define "mqtt-operator.name" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mqtt-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mqtt-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mqtt-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mqtt-operator.labels" -}}
{{ include "mqtt-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* What the operator may do in the namespaces it watches: nothing that a reconcile does not use. */}}
{{- define "mqtt-operator.rules" -}}
- apiGroups: [mqtt.dunlin.io]
  resources: [mqttclusters, mqttacls]
  verbs: [list, watch]
- apiGroups: [mqtt.dunlin.io] # patch: their finalizer
  resources: [mqttusers]
  verbs: [list, watch, patch]
- apiGroups: [mqtt.dunlin.io] # update: the clusterID, issued once
  resources: [mqttclusters/status]
  verbs: [patch, update]
- apiGroups: [mqtt.dunlin.io]
  resources: [mqttusers/status, mqttacls/status]
  verbs: [patch]
- apiGroups: [mqtt.dunlin.io] # blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is on
  resources: [mqttclusters/finalizers, mqttusers/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [secrets, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io] # what brokers may read, with spec.discovery: kubernetes
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io] # used by brokers alone: nobody can give a right that he does not have
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
