"""The mutants that no test can or should tell from the code: each reason, and for each mutant where it is and what of
its changed lines the code has not."""

REASONS: dict[str, list[tuple[str, str]]] = {
    "the name of an error's kind, which nothing reads": [
        ("events._account", 'PydanticCustomError("XXaccountXX"'),
        ("events._account", 'PydanticCustomError("ACCOUNT"'),
        ("events.parse_time", 'PydanticCustomError("XXtimeXX"'),
        ("events.parse_time", 'PydanticCustomError("TIME"'),
    ],
    "saves time only: what pydantic leaves out is not read": [
        ("events.execution", "error.errors(include_input=False)"),
        ("events.execution", "error.errors(include_url=False, )"),
        ("events.execution", "include_url=True"),
        ("events.execution", "include_input=True"),
    ],
    "codecs are named in any case": [
        ("events.cut", '"UTF-16-LE"'),
        ("rollups.units", '"UTF-16-LE"'),
    ],
    "a document never begins with the end of a line": [
        ("records._line_end", "found > 0"),
        ("records._line_end", "found >= 1"),
    ],
    "the assertion after it is for the type checker: the key is known to be there": [
        ("records._member_item", 'found: _Item | None = ""'),
    ],
    "false, too": [
        ("records", "strict=None"),
        ("rollups._json", "ensure_ascii=None"),
    ],
    "saves time or memory only": [
        ("metrics.TimeSeries.add", "known = None"),
        ("records.decode", "islice(_flat(from_json(body), 0), None)"),
        ("records.decode", "islice(_items(text), None)"),
        ("records.decode", "limits.ITEMS_A_MESSAGE + 2"),
        ("rollups.units", "(text.isascii()) and False"),
        ("events", 'r"XX[a-z0-9_:\\-]+XX"'),
        ("events", 'r"[A-Z0-9_:\\-]+"'),
    ],
    "no two executions of a task have the same identity, by which they are compared first": [
        ("plan._with", "key=None"),
        ("plan._with", ""),  # the line with the key, left out
    ],
    "the same number: what is added is zero, or what is divided even": [
        ("rollups.Task.total_duration", "start < end"),
        ("rollups.units", '"surrogatepass")) / 2'),
    ],
    "a column of others has no type of ours either way": [
        ("rollups._check_types", "columns.get(name, )"),
        ("rollups._check_types", "columns.get(name, None)"),
    ],
    "for the type checker: sums that are written are of one execution at least, which has an end": [
        ("rollups.shard_row", "(sums.last_end is None) and False"),
        ("rollups.job_row", "(sums.last_end is None) and False"),
        ("rollups.read_shard", "(end is None) and False"),
    ],
    "evaluated by the type checker alone": [
        ("plan", "Insert & Replace"),
        ("columns", "str & int"),
        ("columns", "int & float"),
        ("columns", "float & bool"),
        ("columns", "bool & bytes"),
        ("columns", "bytes & datetime"),
    ],
    "empty or none, it is not there": [
        ("events", "result: _Text = None"),
    ],
    "the same text, or a bound that no duration reaches": [
        ("rollups", "str(2**e) if (e >= 0) or True else"),
        ("rollups", "range(SMALLEST_EXPONENT, 65)"),
    ],
    "a bound with room to spare, of which one byte more is none": [
        ("plan", "_ROW_OVERHEAD = 4097"),
    ],
}


def reason(where: str, before: str, after: str) -> str | None:
    """Why the mutant is as good as the code, None where nothing says so."""
    for why, mutants in REASONS.items():
        if any(where == place and (part == after or (part in after and part not in before)) for place, part in mutants):
            return why
    return None
