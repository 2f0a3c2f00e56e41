// A new Event Hubs namespace with the hub that Azure Monitor writes the Batch account's log to.
param namespaceName string
param hubName string
param location string
param tags object
param partitions int
param retentionDays int
param throughputUnits int
param maximumThroughputUnits int
param localAuth bool

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: namespaceName
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: throughputUnits
  }
  properties: {
    minimumTlsVersion: '1.2'
    // Azure Monitor has no other way to write to a hub than a shared access policy (hub-access.bicep). The app reads
    // with its identity, and no key leaves the namespace through these files.
    disableLocalAuth: !localAuth
    isAutoInflateEnabled: maximumThroughputUnits > throughputUnits
    maximumThroughputUnits: maximumThroughputUnits > throughputUnits ? maximumThroughputUnits : 0
  }
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: hubName
  properties: {
    partitionCount: partitions
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: retentionDays * 24
    }
  }
}
