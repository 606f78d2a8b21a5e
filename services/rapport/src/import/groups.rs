use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::Arc;

use jaq_json::{Map, Num, Val};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::csv::Fault;
use super::mapping::Mapping;
use super::ordinals::Ordinals;
use super::program::{Program, hex};
use super::rows::{FileError, Row, Rows, canonical, first_half, text};

/// A group of more rows, or of more bytes, is refused: one event cannot hold it.
const GROUP_ROWS_MAX: usize = 10_000;
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many rows with an unreadable key may stand between two rows of one group.
const UNREADABLE_MAX: usize = 100;

/// How many faults of one group are told.
const FAULTS_MAX: usize = 100;

/// An event ready to be published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) event_id: Uuid,
    /// The line its first row begins on.
    pub(crate) line: u64,
    /// A CloudEvent in JSON.
    pub(crate) json: Vec<u8>,
}

/// What became of one group of rows, or of one mail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// The file it stands in, where that is not the one that was named.
    pub(crate) file: Option<Arc<str>>,
    /// How many rows it had.
    pub(crate) rows: u64,
    /// How many of them stand in the input already, and count once.
    pub(crate) repeated: u64,
    /// The events it makes, or what is wrong with it: at least one fault.
    pub(crate) events: Result<Vec<Event>, Vec<Fault>>,
}

impl Outcome {
    /// The input cannot be read beyond this line.
    pub(crate) fn broken_off(line: u64, error: &FileError) -> Self {
        let reason = format!("{error}; what stands before went in");
        Self { file: None, rows: 1, repeated: 0, events: Err(vec![Fault { line, column: None, reason }]) }
    }
}

/// Groups the rows of a file and maps each group to events.
///
/// A row's id is the hash of its cells and of how many equal rows stand before it in the file: a second import finds
/// the same ids, also after other lines were inserted. A group's id is the hash of its key and its rows' ids; its
/// `sequence` is how many rows it has, so that of two versions of one group the fuller one comes last.
///
/// A row that cannot be read rejects the group it stands in. Where even its key cannot be read, that is the group
/// around it; between two groups it stands alone.
pub(crate) struct Groups<'m, R> {
    mapping: &'m Mapping,
    program: Program,
    rows: Rows<'m, R>,
    /// Rows read beyond the previous group.
    ahead: VecDeque<Row>,
    /// How often each row has come.
    seen: Ordinals,
}

/// The rows of one key.
struct Group {
    key: Option<Vec<String>>,
    line: u64,
    rows: u64,
    bytes: usize,
    members: Vec<Member>,
    faults: Vec<Fault>,
}

struct Member {
    id: [u8; 16],
    value: Val,
}

impl<'m, R: BufRead> Groups<'m, R> {
    pub(crate) fn open(mapping: &'m Mapping, program: Program, input: R) -> Result<Self, FileError> {
        let rows = Rows::open(mapping, input)?;
        Ok(Self { mapping, program, rows, ahead: VecDeque::new(), seen: Ordinals::new() })
    }

    /// The line reached, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.rows.line()
    }

    /// The next group; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Outcome>, FileError> {
        let Some(first) = self.take()? else { return Ok(None) };
        let (key, line) = (first.key.clone(), first.line);
        let mut group = Group { key, line, rows: 0, bytes: 0, members: Vec::new(), faults: Vec::new() };
        self.admit(first, &mut group)?;
        if !self.mapping.group_by.is_empty() && group.key.is_some() {
            self.gather(&mut group)?;
        }
        let rows = group.rows;
        Ok(Some(Outcome { file: None, rows, repeated: 0, events: self.map(group) }))
    }

    fn take(&mut self) -> Result<Option<Row>, FileError> {
        match self.ahead.pop_front() {
            Some(row) => Ok(Some(row)),
            None => Ok(self.rows.next()?),
        }
    }

    /// Admits the rows that follow with the same key, and what is unreadable between them.
    fn gather(&mut self, group: &mut Group) -> Result<(), FileError> {
        let mut unreadable = Vec::new();
        while let Some(row) = self.take()? {
            if row.key == group.key {
                for row in unreadable.drain(..).chain([row]) {
                    self.admit(row, group)?;
                }
                continue;
            }
            let goes_on = row.key.is_none() && unreadable.len() < UNREADABLE_MAX;
            unreadable.push(row);
            if !goes_on {
                break;
            }
        }
        for row in unreadable.into_iter().rev() {
            self.ahead.push_front(row);
        }
        Ok(())
    }

    fn admit(&mut self, row: Row, group: &mut Group) -> Result<(), FileError> {
        group.rows += 1;
        match row.content {
            Ok(content) => {
                let ordinal = self.seen.next(content.hash)?;
                let mut id = Sha256::new_with_prefix(content.hash);
                id.update(ordinal.to_be_bytes());
                group.bytes += content.bytes;
                if group.members.len() < GROUP_ROWS_MAX && group.bytes <= GROUP_BYTES_MAX {
                    group.members.push(Member { id: first_half(id), value: content.value });
                } else if group.faults.len() < FAULTS_MAX {
                    let reason = format!("the group has more than {GROUP_ROWS_MAX} rows or {GROUP_BYTES_MAX} bytes");
                    group.faults.push(Fault { line: row.line, column: None, reason });
                }
            }
            Err(fault) if group.faults.len() < FAULTS_MAX => group.faults.push(fault),
            Err(_) => {}
        }
        Ok(())
    }

    fn map(&self, group: Group) -> Result<Vec<Event>, Vec<Fault>> {
        if !group.faults.is_empty() {
            return Err(group.faults);
        }
        let (line, rows) = (group.line, group.rows);
        let fault = |reason: String| vec![Fault { line, column: None, reason }];
        let grouped = !self.mapping.group_by.is_empty();
        let id = if grouped { group.id() } else { hex(&group.members[0].id) };
        let defaults = Defaults { source: &self.mapping.source, id: &id, sequence: grouped.then_some(rows) };
        events(&self.program, group.input(), &defaults, line).map_err(&fault)
    }
}

/// What the program makes of one input.
pub(super) fn events(program: &Program, input: Val, defaults: &Defaults<'_>, line: u64) -> Result<Vec<Event>, String> {
    let outputs = program.run(input)?;
    let mut events = Vec::with_capacity(outputs.len());
    for (index, output) in outputs.into_iter().enumerate() {
        // The second event of an input and those after it: the same id with a number.
        let id = if index == 0 { defaults.id.to_owned() } else { format!("{}.{}", defaults.id, index + 1) };
        events.push(event(output, &Defaults { id: &id, ..*defaults }, line)?);
    }
    Ok(events)
}

impl Group {
    /// The hash of the key and the rows' ids, in whatever order the rows stand.
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in self.key.iter().flatten() {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut ids: Vec<_> = self.members.iter().map(|m| m.id).collect();
        ids.sort_unstable();
        ids.iter().for_each(|id| hash.update(id));
        hex(&first_half(hash))
    }

    /// `{"key": […], "line": …, "rows": […]}`.
    fn input(self) -> Val {
        let key: Vec<Val> = self.key.unwrap_or_default().into_iter().map(Val::from).collect();
        let rows: Vec<Val> = self.members.into_iter().map(|m| m.value).collect();
        let line = isize::try_from(self.line).unwrap_or(isize::MAX);
        let pairs =
            [("key", key.into_iter().collect()), ("line", Val::from(line)), ("rows", rows.into_iter().collect())];
        Val::obj(pairs.into_iter().map(|(name, value)| (text(name), value)).collect::<Map>())
    }
}

/// What an event has unless the program says otherwise.
#[derive(Clone, Copy)]
pub(super) struct Defaults<'a> {
    pub(super) source: &'a str,
    pub(super) id: &'a str,
    pub(super) sequence: Option<u64>,
}

fn event(output: Val, defaults: &Defaults<'_>, line: u64) -> Result<Event, String> {
    let Val::Obj(mut object) = output else {
        return Err(format!("the program makes {output}, which is no event (an object)"));
    };
    let attributes = jaq_json::Rc::make_mut(&mut object);
    // `null` is how jq says that there is nothing.
    attributes.retain(|_, value| !matches!(value, Val::Null));
    let mut default = |name: &str, value: Val| {
        attributes.entry(text(name)).or_insert(value);
    };
    default("specversion", text("1.0"));
    default("source", text(defaults.source));
    default("id", text(defaults.id));
    if let Some(rows) = defaults.sequence {
        default("sequence", Val::Num(Num::from_integral(rows)));
    }
    let attribute = |name: &str| match attributes.get(&text(name)) {
        Some(Val::TStr(value)) => Ok(String::from_utf8_lossy(value).into_owned()),
        other => Err(format!(
            "the event's `{name}` is {}, not text",
            other.map_or("missing".to_owned(), ToString::to_string)
        )),
    };
    let event_id = domain::ids::event_id(&attribute("source")?, &attribute("id")?);
    attribute("type")?;
    let json = canonical(&Val::Obj(object));
    // jq knows values that JSON does not: NaN, bytes, keys that are no text.
    if std::str::from_utf8(&json).is_err() || serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_err() {
        return Err("the event holds a value that JSON cannot express".to_owned());
    }
    Ok(Event { event_id, line, json })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GROUPED: &str = r#"
        format = "csv"
        source = "test"
        group_by = ["k"]
        ignore = ["n"]
        program = '{type: "t", data: {v: [.rows[].v], key, line}}'
    "#;

    fn import(mapping: &str, file: &str) -> Vec<Outcome> {
        let mapping = Mapping::parse(mapping).expect("a mapping");
        let program = Program::compile(&mapping.program).expect("a program");
        let mut groups = Groups::open(&mapping, program, file.as_bytes()).expect("a header");
        std::iter::from_fn(|| groups.next().expect("memory can be read")).collect()
    }

    fn events(outcomes: &[Outcome]) -> Vec<Value> {
        let events = outcomes.iter().filter_map(|o| o.events.as_ref().ok()).flatten();
        events.map(|e| serde_json::from_slice(&e.json).expect("JSON")).collect()
    }

    fn ids(outcomes: &[Outcome]) -> Vec<Uuid> {
        outcomes.iter().filter_map(|o| o.events.as_ref().ok()).flatten().map(|e| e.event_id).collect()
    }

    /// (rows, line of the first fault) of each rejected group.
    fn rejected(outcomes: &[Outcome]) -> Vec<(u64, u64)> {
        outcomes.iter().filter_map(|o| o.events.as_ref().err().map(|f| (o.rows, f[0].line))).collect()
    }

    #[test]
    fn adjacent_rows_of_one_key_are_one_event() {
        let outcomes = import(GROUPED, "n,k,v\n1,a,x\n2,a,y\n3,b,z\n4,a,w\n");
        let found = events(&outcomes);
        let data: Vec<_> = found.iter().map(|e| e["data"].clone()).collect();
        assert_eq!(
            data,
            [
                json!({"v": ["x", "y"], "key": ["a"], "line": 2}),
                json!({"v": ["z"], "key": ["b"], "line": 4}),
                json!({"v": ["w"], "key": ["a"], "line": 5}),
            ]
        );
        let sequences: Vec<_> = found.iter().map(|e| e["sequence"].clone()).collect();
        assert_eq!(sequences, [json!(2), json!(1), json!(1)]);
        assert_eq!((&found[0]["source"], &found[0]["specversion"]), (&json!("test"), &json!("1.0")));
    }

    #[test]
    fn ids_outlive_inserted_lines_and_running_numbers() {
        let before = ids(&import(GROUPED, "n,k,v\n1,a,x\n2,a,x\n3,b,z\n4,a,x\n"));
        let after = ids(&import(GROUPED, "n,k,v\n1,c,new\n2,a,x\n3,a,x\n4,d,new\n5,b,z\n6,a,x\n"));
        assert_eq!(before.len(), 3);
        assert!(before.iter().all(|id| after.contains(id)));
        // Equal rows are told apart: the third `a,x` is not the first.
        assert_ne!(before[0], before[2]);
        // The order of rows in a group does not matter, its rows do.
        let two = |file| ids(&import(GROUPED, file))[0];
        assert_eq!(two("n,k,v\n1,a,x\n2,a,y\n"), two("n,k,v\n1,a,y\n2,a,x\n"));
        assert_ne!(two("n,k,v\n1,a,x\n"), two("n,k,v\n1,a,x\n2,a,y\n"));
    }

    #[test]
    fn a_broken_row_rejects_its_group() {
        for (file, expected, kept) in [
            ("n,k,v\n1,a,x\n2,a\n3,b,z\n", vec![(2, 3)], 1),
            ("n,k,v\n1,a\n2,a,x\n3,b,z\n", vec![(2, 2)], 1),
            // No key: the group around it, else itself.
            ("n,k,v\n1,a,x\ngarbage\n3,a,y\n4,b,z\n", vec![(3, 3)], 1),
            ("n,k,v\n1,a,x\ngarbage\n3,b,y\n4,b,z\n", vec![(1, 3)], 2),
            ("n,k,v\n1,a,x\n2,b,z\ngarbage", vec![(1, 4)], 2),
            ("n,k,v\ngarbage\nrubbish\n1,a,x\n2,b,z\n", vec![(1, 2), (1, 3)], 2),
        ] {
            let outcomes = import(GROUPED, file);
            assert_eq!((rejected(&outcomes), ids(&outcomes).len()), (expected, kept), "{file:?}");
        }
    }

    #[test]
    fn a_broken_row_does_not_count_among_equal_ones() {
        let good = ids(&import(GROUPED, "n,k,v\n1,a,x\n"));
        let after_garbage = ids(&import(GROUPED, "n,k,v\ngarbage\n1,a,x\n"));
        assert_eq!(good, after_garbage);
    }

    #[test]
    fn what_a_program_makes() {
        let mapping = |program: &str| format!("format = \"csv\"\nsource = \"s\"\nprogram = '''{program}'''");
        let one = |program: &str| import(&mapping(program), "v\n1\n").remove(0).events;
        let fails = |program: &str, says: &str| {
            let faults = one(program).expect_err(program);
            assert!(faults[0].reason.contains(says), "{program}: {faults:?}");
            assert_eq!(faults[0].line, 2);
        };
        fails("error(\"no \\(.rows[0].v)\")", "no 1");
        fails("1", "no event");
        fails("{data: 1}", "`type` is missing");
        fails("{type: \"t\", id: 7}", "`id` is 7, not text");
        fails("{type: \"t\", data: nan}", "JSON cannot express");
        fails("{type: \"t\", data: {(1 | tostring): 2, (null): 3}}", "");
        assert_eq!(one("empty"), Ok(vec![]));

        let outcomes = import(
            &mapping("{type: \"a\", time: null}, {type: \"b\"}, {type: \"c\", id: \"mine\", source: \"else\"}"),
            "v\n1\n",
        );
        let found = events(&outcomes);
        let first = found[0]["id"].as_str().expect("an id");
        assert_eq!(found[1]["id"], json!(format!("{first}.2")));
        assert_eq!((&found[2]["id"], &found[2]["source"]), (&json!("mine"), &json!("else")));
        assert!(found.iter().all(|e| e.get("sequence").is_none() && e.get("time").is_none()));
    }

    #[test]
    fn json_lines() {
        let mapping = r#"
            format = "ndjson"
            source = "s"
            group_by = ["k"]
            program = '{type: "t", data: {v: [.rows[].v]}}'
        "#;
        let outcomes =
            import(mapping, "{\"k\":1,\"v\":1.10}\n\n{\"v\":2,\"k\":1}\n{\"k\":2}\n{\"k\":\nnot\n[1]\n{\"v\":1}");
        let data: Vec<_> = events(&outcomes).iter().map(|e| e["data"].to_string()).collect();
        // Numbers keep their digits.
        let first = outcomes[0].events.as_ref().expect("an event")[0].json.clone();
        assert!(String::from_utf8_lossy(&first).contains("1.10"));
        assert_eq!(data[1], r#"{"v":[null]}"#);
        assert_eq!(rejected(&outcomes), [(1, 5), (1, 6), (1, 7), (1, 8)]);
        // The order of members is not part of what a row is.
        let swapped = import(mapping, "{\"v\":1.10,\"k\":1}\n{\"k\":1,\"v\":2}\n");
        assert_eq!(ids(&outcomes)[0], ids(&swapped)[0]);
    }

    #[test]
    fn the_shipped_mapping_makes_orders() {
        let file = "\
Row ID,Order ID,Order Date,Ship Mode,Customer ID,Segment,Product ID,Category,Sub-Category,Product Name,Sales,Quantity,Profit
1,A-1,2016-11-08,Second Class,C-7,Consumer,SKU-1,Furniture,Chairs,\"Chair, 18\"\" high\",1.005,2,-0.125
2,A-1,2016-11-08,Second Class,C-7,Consumer,SKU-2,Technology,Phones,Phone,20,1,3.5
3,A-2,2016-11-09,First Class,C-8,Corporate,SKU-1,Furniture,Chairs,Chair,x,1,3
";
        let outcomes = import(include_str!("../../mappings/superstore-orders.toml"), file);
        assert_eq!(rejected(&outcomes), [(1, 4)]);
        let order = &events(&outcomes)[0];
        assert_eq!((&order["subject"], &order["time"]), (&json!("customer_no:C-7"), &json!("2016-11-08T00:00:00Z")));
        assert_eq!((&order["type"], &order["sequence"]), (&json!("order.placed"), &json!(2)));
        let usd = |minor: i64| json!({"amount_minor": minor, "currency": "USD"});
        assert_eq!(
            order["data"]["lines"][0],
            json!({"sku": "SKU-1", "name": "Chair, 18\" high", "category": "Furniture", "subcategory": "Chairs",
                   "quantity": 2, "total": usd(101), "margin": usd(-13)})
        );
        assert_eq!(order["data"]["lines"][1]["total"], usd(2000));
    }

    #[test]
    fn the_shipped_mapping_makes_clicks() {
        let file = "\
user_id,session_id,event,timestamp,platform,acquisition_channel,user_cohort,user_lifecycle
u1,s1,product_view,2024-03-13 10:22:12,desktop,email,2024-01,new
u1,s1,product_view,2024-03-13 10:22:12,desktop,email,2024-01,new
u1,s1,add_to_cart,2024-03-13 10:23:32,desktop,email,2024-01,new
u1,s1,payment_error,2024-03-13 10:24:00,desktop,email,2024-01,new
u1,s1,purchase,2024-03-13 10:25:00,desktop,email,2024-01,new
u1,s1,home,2024-13-13 10:25:00,desktop,email,2024-01,new
u1,s1,home,2024-03-13 10:26:00,desktop,email,2024-01,new
";
        let outcomes = import(include_str!("../../mappings/retentioneering-clicks.toml"), file);
        assert_eq!(rejected(&outcomes), [(1, 7)]);
        let found = events(&outcomes);
        // Equal clicks are two.
        assert_ne!(ids(&outcomes)[0], ids(&outcomes)[1]);
        assert!(found.iter().all(|e| e["subject"] == "user_id:u1" && e["data"]["session_id"] == "s1"));
        let made: Vec<_> = found[1..].iter().map(|e| (e["type"].as_str().unwrap_or_default(), &e["data"])).collect();
        let session = json!("s1");
        let expected = [
            ("web.product.viewed", json!({"sku": "unknown", "session_id": session})),
            ("web.cart.changed", json!({"op": "added", "session_id": session})),
            (
                "web.checkout.step_reached",
                json!({"step": "payment_details", "error": "payment_error", "session_id": session}),
            ),
            ("order.placed", json!({"order_id": "ecom-s1", "lines": [], "channel": "web", "session_id": session})),
            ("web.page.viewed", json!({"url": "/home", "device": "desktop", "session_id": session})),
        ];
        assert_eq!(made, expected.iter().map(|(kind, data)| (*kind, data)).collect::<Vec<_>>());
        assert_eq!(found[0]["time"], "2024-03-13T10:22:12Z");
    }

    #[test]
    fn what_cannot_be_read_at_all() {
        let open = |file: &[u8]| {
            let mapping = Mapping::parse(GROUPED).expect("a mapping");
            let program = Program::compile(&mapping.program).expect("a program");
            Groups::open(&mapping, program, file).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let wide: Vec<u8> = "n,k,v\n1,a,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (file, says) in [
            (&wide[..], "line 1, column 1: the file is UTF-16"),
            (b"n;k;v\n1;a;x\n", "Is the delimiter another one?"),
            (b"n,v\n1,x\n", "line 1, column 1: there is no column \"k\""),
            (b"n,k\xe4,v\n", "line 1, column 3: the names of the columns: column 2 is not valid UTF-8"),
            (b"", "line 1, column 1: the file is empty"),
        ] {
            assert!(open(file).contains(says), "{says}: {}", open(file));
        }
    }

    #[test]
    fn a_group_has_an_end() {
        let file = format!("n,k,v\n{}1,b,z\n", "1,a,x\n".repeat(GROUP_ROWS_MAX + 5));
        let outcomes = import(GROUPED, &file);
        assert_eq!(rejected(&outcomes), [(GROUP_ROWS_MAX as u64 + 5, GROUP_ROWS_MAX as u64 + 2)]);
        assert_eq!(ids(&outcomes).len(), 1);
    }
}
