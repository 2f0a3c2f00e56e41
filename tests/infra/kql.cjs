// Reads [{name, query}, …] from standard input and prints what Microsoft's own parser of KQL finds wrong, as [{name,
// message}, …]: syntax, unknown tables, columns and functions, and types. The columns are those of Application Insights,
// some of its tables in a Log Analytics workspace, and what Batch's raw log has of AzureDiagnostics.
require('@kusto/language-service-next/bridge.min.js')
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js')
const { GlobalState, KustoCode, Symbols } = Kusto.Language

const common =
    'timestamp: datetime, itemCount: int, operation_Id: string, cloud_RoleName: string, cloud_RoleInstance: string'
const tables = [
    `traces (${common}, message: string, severityLevel: int)`,
    `exceptions (${common}, type: string, outerMessage: string, innermostMessage: string, severityLevel: int)`,
    'customMetrics (timestamp: datetime, name: string, valueSum: real, valueCount: int, valueMax: real, ' +
        'customDimensions: dynamic)',
    ...['AppTraces', 'AppRequests', 'AppMetrics', 'AppDependencies'].map(
        (name) => `${name} (TimeGenerated: datetime, Type: string, _BilledSize: real)`,
    ),
    'AzureDiagnostics (TimeGenerated: datetime, ResourceProvider: string, Resource: string, OperationName: string, ' +
        'jobId_s: string, id_s: string, executionInfo_startTime_t: datetime, executionInfo_endTime_t: datetime)',
].map((table) => {
    const [, name, columns] = /^(\w+) (.*)$/.exec(table)
    return Symbols.TableSymbol.From(columns).WithName(name)
})
const list = new (System.Collections.Generic.List$1(Symbols.Symbol).ctor)()
for (const table of tables) list.add(table)
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1('insights', list))

const queries = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const found = queries.flatMap(({ name, query }) => {
    const code = KustoCode.ParseAndAnalyze(query, globals)
    return [...Array(code.GetDiagnostics().Count).keys()].map((i) => {
        const diagnostic = code.GetDiagnostics().getItem(i)
        const text = query.slice(diagnostic.Start, diagnostic.Start + diagnostic.Length)
        return { name, message: `${text}: ${diagnostic.Message}` }
    })
})
process.stdout.write(JSON.stringify(found))
