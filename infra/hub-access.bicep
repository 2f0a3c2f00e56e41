// Who comes to a hub, new or not: the app, with its own consumer group and the right to receive from this hub alone;
// and Azure Monitor, which writes to it.
param namespaceName string
param hubName string
param consumerGroup string
param appPrincipalId string
param azureMonitorWrites bool

var roles = loadJsonContent('roles.json')

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' existing = {
  parent: namespace
  name: hubName
}

resource group 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: hub
  name: consumerGroup
  properties: {
    userMetadata: 'Read by batch rollups alone'
  }
}

resource receiver 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hub.id, appPrincipalId, roles.eventHubsDataReceiver)
  scope: hub
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventHubsDataReceiver)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// A diagnostic setting names a shared access policy of the namespace that may manage, send and listen; Azure Monitor
// takes its key by itself. A policy of its own can be rotated or removed without harm to anything else.
resource monitorPolicy 'Microsoft.EventHub/namespaces/authorizationRules@2024-01-01' = if (azureMonitorWrites) {
  parent: namespace
  name: 'azure-monitor'
  properties: {
    rights: ['Listen', 'Manage', 'Send']
  }
}

output monitorPolicyId string = '${namespace.id}/authorizationRules/azure-monitor'
output namespaceId string = namespace.id
output hostName string = split(replace(namespace.properties.serviceBusEndpoint, 'https://', ''), ':')[0]
