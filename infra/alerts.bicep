// The alerts. Each says in its description which section of docs/operations.md tells what to do.
param token string
param location string
param tags object
param email string
param lagSeconds int
param insightsId string
param namespaceId string
param hubName string
param hostAccountId string
param rollupAccountId string

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'rollups'
    enabled: true
    emailReceivers: empty(email) ? [] : [
      {
        name: 'mail'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource consumerLag 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'consumer-lag-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Batch rollups: consumer lag'
    description: 'Even the newest record of a partition was old when it was counted. docs/operations.md#consumer-lag'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: loadTextContent('queries/consumer-lag.kql')
          metricMeasureColumn: 'lagSeconds'
          timeAggregation: 'Minimum'
          dimensions: [
            {
              name: 'partition'
              operator: 'Include'
              values: ['*']
            }
          ]
          operator: 'GreaterThan'
          threshold: lagSeconds
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [mail.id]
    }
  }
}

resource deadLetters 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dead-letters-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Batch rollups: dead letters'
    description: 'Something could not be counted and was kept as a dead letter. docs/operations.md#dead-letters'
    severity: 3
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: loadTextContent('queries/dead-letters.kql')
          metricMeasureColumn: 'deadLetters'
          timeAggregation: 'Total'
          dimensions: [
            {
              name: 'partition'
              operator: 'Include'
              values: ['*']
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [mail.id]
    }
  }
}

resource failedInvocations 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'failed-invocations-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Batch rollups: failed invocations'
    description: 'Batches fail and are tried again; their partitions wait. docs/operations.md#failed-invocations'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT1H' // a batch that is held is tried every 15 minutes: the alert lasts as long
    criteria: {
      allOf: [
        {
          query: loadTextContent('queries/failed-invocations.kql')
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 2
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [mail.id]
    }
  }
}

resource standstill 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'standstill-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Messages come into the hub and none is read. docs/operations.md#standstill'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [namespaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT30M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'written'
          metricNamespace: 'Microsoft.EventHub/namespaces'
          metricName: 'IncomingMessages'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: [
            {
              name: 'EntityName'
              operator: 'Include'
              values: [hubName]
            }
          ]
        }
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'read'
          metricNamespace: 'Microsoft.EventHub/namespaces'
          metricName: 'OutgoingMessages'
          timeAggregation: 'Total'
          operator: 'LessThanOrEqual'
          threshold: 0
          dimensions: [
            {
              name: 'EntityName'
              operator: 'Include'
              values: [hubName]
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: mail.id
      }
    ]
  }
}

resource hubThrottled 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'hub-throttled-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Hubs refuses requests: too few throughput units. docs/operations.md#event-hubs-throttles'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [namespaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.EventHub/namespaces'
          metricName: 'ThrottledRequests'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [
      {
        actionGroupId: mail.id
      }
    ]
  }
}

var accounts = [
  { name: 'rollup', id: rollupAccountId }
  { name: 'host', id: hostAccountId }
]

resource storageThrottled 'Microsoft.Insights/metricAlerts@2018-03-01' = [for account in accounts: {
  name: '${account.name}-storage-throttled-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Azure Storage refuses requests to keep its limits. docs/operations.md#storage-throttles'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [account.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.Storage/storageAccounts'
          metricName: 'Transactions'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 100
          dimensions: [
            {
              name: 'ResponseType'
              operator: 'Include'
              values: [
                'ClientAccountBandwidthThrottlingError'
                'ClientAccountRequestThrottlingError'
                'ClientThrottlingError'
                'ServerBusyError'
              ]
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: mail.id
      }
    ]
  }
}]
