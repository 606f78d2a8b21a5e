//! The figures, each with the two ways to it: as the analyst asks for it in SQL, and out of the rows of public reports.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use serde_json::Value;
use sqlx::PgConnection;
use system_tests::{
    report::{Row, Way},
    stack::Stack,
};

/// A figure.
pub(super) struct Figure {
    /// What it tells.
    what: &'static str,
    /// What it is, as text.
    expected: &'static str,
    /// One value.
    sql: &'static str,
    report: fn(&Reports) -> String,
}

/// A data set's figures.
pub(super) struct Figures {
    /// The reports that they are read from, with parameters as in a query string.
    reports: &'static [&'static str],
    figures: &'static [Figure],
}

impl Figures {
    /// Holds each of them against what the analyst and what every public way to a report tell.
    pub(super) async fn hold(&self, stack: &Stack, analyst: &mut PgConnection) {
        for Figure { what, expected, sql, .. } in self.figures {
            let sql = format!("SELECT ({sql})::text");
            let told = sqlx::query_scalar::<_, Option<String>>(&sql).fetch_one(&mut *analyst);
            let told = told.await.unwrap_or_else(|e| panic!("{what}: {e} in {sql}"));
            assert_eq!(told.as_deref(), Some(*expected), "{what}, by SQL");
        }
        for way in Way::ALL {
            let mut reports = Reports(HashMap::new());
            for asked in self.reports {
                reports.0.insert(asked, way.rows(stack, asked).await);
            }
            for Figure { what, expected, report, .. } in self.figures {
                assert_eq!(report(&reports), *expected, "{what}, by report, {way:?}");
            }
        }
    }
}

/// The rows of the reports that were asked for.
struct Reports(HashMap<&'static str, Vec<Row>>);

impl Reports {
    fn of(&self, asked: &str) -> &[Row] {
        self.0.get(asked).unwrap_or_else(|| panic!("{asked} was not asked for"))
    }

    /// How many rows a report has.
    fn rows(&self, asked: &str) -> String {
        self.of(asked).len().to_string()
    }

    /// How many rows of a report are such.
    fn such(&self, asked: &str, is_such: impl Fn(&Row) -> bool) -> String {
        self.of(asked).iter().filter(|row| is_such(row)).count().to_string()
    }

    /// The sum of a column.
    fn sum(&self, asked: &str, column: &str) -> String {
        sum(self.of(asked), column).to_string()
    }

    /// A cell of a report that has one row.
    fn cell(&self, asked: &str, column: &str) -> String {
        let [row] = self.of(asked) else { panic!("{asked} has {} rows", self.of(asked).len()) };
        row.text(column).unwrap_or_else(|| panic!("{column} is NULL")).to_owned()
    }

    /// The identifiers of the customer with the largest sum of a column over their orders, and that sum.
    fn best_customer(&self, column: &str) -> String {
        let sums = sums(&by(self.of(BY_CUSTOMER), |row| row.text("customer_id")), column);
        let (id, most) = largest(&sums);
        let customer = self.of("customer360.customers").iter().find(|row| row.text("customer_id") == *id);
        let identifiers =
            customer.and_then(|row| row.text("identifiers")).expect("the customer is among the customers");
        let identifiers: Vec<String> = serde_json::from_str(identifiers).expect("a list");
        format!("{} {most}", identifiers.join(" "))
    }

    /// How many customers have more than one of something in their orders.
    fn customers_with_several<'a, T: Ord>(&'a self, of: impl Fn(&'a Row) -> T) -> String {
        let customers = by(self.of(BY_CUSTOMER), |row| row.text("customer_id"));
        customers.values().filter(|orders| distinct(orders, &of) > 1).count().to_string()
    }

    /// The sessions of the clicks, each with its moments, microseconds since 1970.
    fn sessions(&self) -> BTreeMap<String, Vec<i64>> {
        let mut sessions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for row in self.clicks() {
            let session = data(row)["session_id"].as_str().expect("every click names its session").to_owned();
            sessions.entry(session).or_default().push(micros(row, "occurred_at"));
        }
        sessions.values_mut().for_each(|moments| moments.sort_unstable());
        sessions
    }

    fn clicks(&self) -> impl Iterator<Item = &Row> {
        CLICKS.iter().flat_map(|asked| self.of(asked))
    }
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Row>, column: &str) -> i64 {
    rows.into_iter().filter_map(|row| row.integer(column)).sum()
}

fn by<'a, K: Ord>(rows: &'a [Row], key: impl Fn(&'a Row) -> K) -> BTreeMap<K, Vec<&'a Row>> {
    let mut groups: BTreeMap<K, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(key(row)).or_default().push(row));
    groups
}

fn sums<K: Ord + Copy>(groups: &BTreeMap<K, Vec<&Row>>, column: &str) -> BTreeMap<K, i64> {
    groups.iter().map(|(key, rows)| (*key, sum(rows.iter().copied(), column))).collect()
}

fn largest<K: Ord>(sums: &BTreeMap<K, i64>) -> (&K, i64) {
    let (key, most) = sums.iter().min_by_key(|(_, sum)| Reverse(**sum)).expect("there is one");
    (key, *most)
}

fn distinct<'a, T: Ord>(rows: &[&'a Row], of: impl Fn(&'a Row) -> T) -> usize {
    rows.iter().map(|row| of(row)).collect::<BTreeSet<T>>().len()
}

/// How many groups of equal rows have more than one.
fn repeated<K: Hash + Eq>(rows: &[Row], key: impl Fn(&Row) -> K) -> usize {
    let mut seen: HashMap<K, usize> = HashMap::new();
    rows.iter().for_each(|row| *seen.entry(key(row)).or_default() += 1);
    seen.values().filter(|count| **count > 1).count()
}

/// The first characters of a time or a day: 4 are the year, 10 the day. Reports tell times in UTC.
fn start<'a>(row: &'a Row, column: &str, chars: usize) -> &'a str {
    row.text(column).and_then(|text| text.get(..chars)).unwrap_or_else(|| panic!("{column} of {row:?}"))
}

fn micros(row: &Row, column: &str) -> i64 {
    row.text(column).and_then(domain::time::parse).unwrap_or_else(|| panic!("{column} of {row:?}"))
}

/// The data of the event that a row of the timeline is.
fn data(row: &Row) -> Value {
    let payload: Value = serde_json::from_str(row.text("payload").expect("an event")).expect("JSON");
    payload["data"].clone()
}

const BY_CUSTOMER: &str = "sales.orders_by_customer";

/// Keys with their values, as text: `a 1, b 2`.
fn listed<K: std::fmt::Display>(parts: impl IntoIterator<Item = (K, String)>) -> String {
    parts.into_iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
}

/// Orders of a shop.
pub(super) const ORDERS: Figures = Figures {
    reports: &[
        "sales.orders",
        BY_CUSTOMER,
        "sales.order_lines",
        "sales.revenue",
        "sales.product_performance",
        "customer360.customers",
    ],
    figures: &[
        Figure {
            what: "orders",
            expected: "5009",
            sql: "SELECT count(*) FROM sales.orders",
            report: |r| r.rows("sales.orders"),
        },
        Figure {
            what: "lines",
            expected: "9994",
            sql: "SELECT count(*) FROM sales.order_lines",
            report: |r| r.rows("sales.order_lines"),
        },
        Figure {
            what: "lines of an order at most",
            expected: "14",
            sql: "SELECT max(line_count) FROM sales.orders",
            report: |r| {
                let orders = r.of("sales.orders").iter();
                orders.filter_map(|row| row.integer("line_count")).max().unwrap_or_default().to_string()
            },
        },
        Figure {
            what: "customers",
            expected: "793",
            sql: "SELECT count(*) FROM customer360.customers",
            report: |r| r.rows("customer360.customers"),
        },
        Figure {
            what: "customers with an order",
            expected: "793",
            sql: "SELECT count(*) FROM sales.orders_by_customer WHERE new_or_repeat = 'new'",
            report: |r| r.such(BY_CUSTOMER, |row| row.text("new_or_repeat") == Some("new")),
        },
        Figure {
            what: "customers with more than one order",
            expected: "781",
            sql: "SELECT count(*) FROM (SELECT FROM sales.orders GROUP BY subject_id HAVING count(*) > 1) c",
            report: |r| r.customers_with_several(|row| row.text("order_id")),
        },
        Figure {
            what: "customers with more than one day of purchase",
            expected: "781",
            sql: "SELECT count(*) FROM (
                      SELECT FROM sales.orders GROUP BY subject_id HAVING count(DISTINCT placed_at::date) > 1
                  ) c",
            report: |r| r.customers_with_several(|row| start(row, "placed_at", 10)),
        },
        Figure {
            what: "revenue",
            expected: "229720107",
            sql: "SELECT sum(gross_minor) FROM sales.revenue",
            report: |r| r.sum("sales.revenue", "gross_minor"),
        },
        Figure {
            what: "revenue, order by order",
            expected: "229720107",
            sql: "SELECT sum(net_minor) FROM sales.orders",
            report: |r| r.sum("sales.orders", "net_minor"),
        },
        Figure {
            what: "revenue, product by product",
            expected: "229720107",
            sql: "SELECT sum(revenue_minor) FROM sales.product_performance",
            report: |r| r.sum("sales.product_performance", "revenue_minor"),
        },
        Figure {
            what: "margin",
            expected: "28639779",
            sql: "SELECT sum(margin_minor) FROM sales.revenue",
            report: |r| r.sum("sales.revenue", "margin_minor"),
        },
        Figure {
            what: "margin, line by line",
            expected: "28639779",
            sql: "SELECT sum(margin_minor) FROM sales.order_lines",
            report: |r| r.sum("sales.order_lines", "margin_minor"),
        },
        Figure {
            what: "revenue and orders by year",
            expected: "2014 48424756 969, 2015 47053246 1038, 2016 60920586 1315, 2017 73321519 1687",
            sql: "SELECT string_agg(concat_ws(' ', year, gross, orders), ', ' ORDER BY year) FROM (
                      SELECT extract(year FROM day) AS year, sum(gross_minor) AS gross, sum(orders) AS orders
                      FROM sales.revenue GROUP BY 1
                  ) y",
            report: |r| {
                let years = by(r.of("sales.revenue"), |row| start(row, "day", 4));
                let sums = |days: Vec<&Row>| {
                    format!("{} {}", sum(days.iter().copied(), "gross_minor"), sum(days.iter().copied(), "orders"))
                };
                listed(years.into_iter().map(|(year, days)| (year, sums(days))))
            },
        },
        Figure {
            what: "revenue by category",
            expected: "Furniture 74199998, Office Supplies 71904699, Technology 83615410",
            sql: "SELECT string_agg(category || ' ' || total, ', ' ORDER BY category) FROM (
                      SELECT category, sum(total_minor) AS total FROM sales.order_lines GROUP BY 1
                  ) c",
            report: |r| {
                let categories = by(r.of("sales.order_lines"), |row| row.text("category").unwrap_or("none"));
                listed(sums(&categories, "total_minor").into_iter().map(|(category, sum)| (category, sum.to_string())))
            },
        },
        Figure {
            // Cut off after four digits, where Rapport itself would round.
            what: "average order value",
            expected: "45861.4707",
            sql: "SELECT trunc((sum(gross_minor) - sum(discount_minor)) / sum(orders), 4) FROM sales.revenue",
            report: |r| {
                let days = r.of("sales.revenue");
                let ordered = sum(days, "gross_minor") - sum(days, "discount_minor");
                let average = ordered * 10_000 / sum(days, "orders");
                format!("{}.{:04}", average / 10_000, average % 10_000)
            },
        },
        Figure {
            what: "best customer by revenue",
            expected: "customer_no:SM-20320 2504307",
            sql: "SELECT array_to_string(c.identifiers, ' ') || ' ' || sum(o.gross_minor)
                  FROM sales.orders_by_customer o JOIN customer360.customers c USING (customer_id)
                  GROUP BY c.identifiers ORDER BY sum(o.gross_minor) DESC LIMIT 1",
            report: |r| r.best_customer("gross_minor"),
        },
        Figure {
            // Tamara Chand.
            what: "best customer by margin",
            expected: "customer_no:TC-20980 898132",
            sql: "SELECT array_to_string(c.identifiers, ' ') || ' ' || sum(o.margin_minor)
                  FROM sales.orders_by_customer o JOIN customer360.customers c USING (customer_id)
                  GROUP BY c.identifiers ORDER BY sum(o.margin_minor) DESC LIMIT 1",
            report: |r| r.best_customer("margin_minor"),
        },
        Figure {
            what: "best product by revenue",
            expected: "TEC-CO-10004722 6159983",
            sql: "SELECT sku || ' ' || sum(total_minor) FROM sales.order_lines
                  GROUP BY sku ORDER BY sum(total_minor) DESC LIMIT 1",
            report: |r| {
                let products = by(r.of("sales.product_performance"), |row| row.text("sku").unwrap_or("none"));
                let sums = sums(&products, "revenue_minor");
                let (sku, most) = largest(&sums);
                format!("{sku} {most}")
            },
        },
        Figure {
            what: "orders that name a sku twice",
            expected: "8",
            sql: "SELECT count(DISTINCT order_id) FROM (
                      SELECT order_id FROM sales.order_lines GROUP BY order_id, sku HAVING count(*) > 1
                  ) l",
            report: |r| {
                let orders = by(r.of("sales.order_lines"), |row| row.text("order_id"));
                let twice = |lines: &&Vec<&Row>| distinct(lines, |row| row.text("sku")) < lines.len();
                orders.values().filter(twice).count().to_string()
            },
        },
        Figure {
            what: "lines that stand there twice",
            expected: "1",
            sql: "SELECT count(*) FROM (
                      SELECT FROM sales.order_lines
                      GROUP BY order_id, sku, name, quantity, total_minor, margin_minor HAVING count(*) > 1
                  ) l",
            report: |r| {
                let columns = ["order_id", "sku", "name", "quantity", "total_minor", "margin_minor"];
                let key = |row: &Row| columns.map(|column| row.text(column).map(str::to_owned));
                repeated(r.of("sales.order_lines"), key).to_string()
            },
        },
    ],
};

/// The timeline of the clicks: one report would be larger than an answer may be.
const CLICKS: [&str; 5] = [
    "customer360.timeline?type=web.page.viewed",
    "customer360.timeline?type=web.product.viewed",
    "customer360.timeline?type=web.cart.changed",
    "customer360.timeline?type=web.checkout.step_reached",
    "customer360.timeline?type=order.placed",
];

/// Asked as of the end of the data, when nobody shops any more.
const FUNNEL: &str = "sales.cart_funnel?at=2024-06-30T00:00:00Z";

/// Clicks in a web shop.
pub(super) const WEB_SHOP: Figures = Figures {
    reports: &[
        CLICKS[0],
        CLICKS[1],
        CLICKS[2],
        CLICKS[3],
        CLICKS[4],
        FUNNEL,
        "sales.cart_funnel",
        "sales.carts",
        "sales.orders",
        BY_CUSTOMER,
        "customer360.customers",
    ],
    figures: &[
        Figure {
            what: "clicks",
            expected: "31106",
            sql: "SELECT count(*) FROM customer360.timeline WHERE source = 'import:retentioneering'",
            report: |r| r.clicks().count().to_string(),
        },
        Figure {
            what: "clicks that repeat another exactly",
            expected: "30",
            sql: "SELECT count(*) - count(DISTINCT (subject_id, type, occurred_at, (payload -> 'data')::text))
                  FROM customer360.timeline WHERE source = 'import:retentioneering'",
            report: |r| {
                let text = |row: &Row, column| row.text(column).map(str::to_owned);
                let key =
                    |row| (text(row, "subject_id"), text(row, "type"), text(row, "occurred_at"), data(row).to_string());
                (r.clicks().count() - r.clicks().map(key).collect::<BTreeSet<_>>().len()).to_string()
            },
        },
        Figure {
            what: "users",
            expected: "600",
            sql: "SELECT count(*) FROM customer360.customers",
            report: |r| r.rows("customer360.customers"),
        },
        Figure {
            what: "sessions",
            expected: "3605",
            sql: "SELECT count(DISTINCT payload -> 'data' ->> 'session_id') FROM customer360.timeline",
            report: |r| r.sessions().len().to_string(),
        },
        Figure {
            what: "first and last day",
            expected: "2024-01-04 2024-06-29",
            sql: "SELECT concat_ws(' ', min(occurred_at)::date, max(occurred_at)::date)
                  FROM customer360.timeline WHERE source = 'import:retentioneering'",
            report: |r| {
                let days: BTreeSet<&str> = r.clicks().map(|row| start(row, "occurred_at", 10)).collect();
                format!("{} {}", days.first().unwrap_or(&"none"), days.last().unwrap_or(&"none"))
            },
        },
        Figure {
            what: "longest pause within a session, in whole minutes",
            expected: "27",
            sql: "SELECT floor(extract(epoch FROM max(pause)) / 60) FROM (
                      SELECT occurred_at - lag(occurred_at) OVER (
                          PARTITION BY payload -> 'data' ->> 'session_id' ORDER BY occurred_at
                      ) AS pause
                      FROM customer360.timeline WHERE source = 'import:retentioneering'
                  ) c",
            report: |r| {
                let sessions = r.sessions();
                let pauses = sessions.values().flat_map(|moments| moments.windows(2).map(|pair| pair[1] - pair[0]));
                (pauses.max().unwrap_or_default() / 60_000_000).to_string()
            },
        },
        Figure {
            what: "sessions that viewed a product",
            expected: "2868",
            sql: "SELECT viewed FROM sales.cart_funnel",
            report: |r| r.cell("sales.cart_funnel", "viewed"),
        },
        Figure {
            what: "sessions that carted",
            expected: "1213",
            sql: "SELECT carted FROM sales.cart_funnel",
            report: |r| r.cell("sales.cart_funnel", "carted"),
        },
        Figure {
            what: "sessions that carted and viewed nothing",
            expected: "39",
            sql: "SELECT carted_unviewed FROM sales.cart_funnel",
            report: |r| r.cell("sales.cart_funnel", "carted_unviewed"),
        },
        Figure {
            what: "sessions that reached the checkout",
            expected: "798",
            sql: "SELECT checkout FROM sales.cart_funnel",
            report: |r| r.cell("sales.cart_funnel", "checkout"),
        },
        Figure {
            what: "sessions that bought",
            expected: "470",
            sql: "SELECT paid FROM sales.cart_funnel",
            report: |r| r.cell("sales.cart_funnel", "paid"),
        },
        Figure {
            what: "the funnel at the end of the data",
            expected: "2868 1213 39 798 470",
            sql: "SELECT concat_ws(' ', viewed, carted, carted_unviewed, checkout, paid)
                  FROM sales.cart_funnel_at('2024-06-30T00:00:00Z')",
            report: |r| {
                ["viewed", "carted", "carted_unviewed", "checkout", "paid"]
                    .map(|column| r.cell(FUNNEL, column))
                    .join(" ")
            },
        },
        Figure {
            what: "abandoned carts at the end of the data",
            expected: "743",
            sql: "SELECT carts_abandoned FROM sales.cart_funnel_at('2024-06-30T00:00:00Z')",
            report: |r| r.cell(FUNNEL, "carts_abandoned"),
        },
        Figure {
            what: "abandoned carts",
            expected: "743",
            sql: "SELECT count(*) FROM sales.carts WHERE state = 'abandoned'",
            report: |r| r.such("sales.carts", |row| row.text("state") == Some("abandoned")),
        },
        Figure {
            what: "bought carts",
            expected: "470",
            sql: "SELECT count(*) FROM sales.carts WHERE state = 'purchased'",
            report: |r| r.such("sales.carts", |row| row.text("state") == Some("purchased")),
        },
        Figure {
            // A cart is a session here.
            what: "carts",
            expected: "1213",
            sql: "SELECT count(*) FROM sales.carts",
            report: |r| r.rows("sales.carts"),
        },
        Figure {
            what: "orders",
            expected: "470",
            sql: "SELECT count(*) FROM sales.orders",
            report: |r| r.rows("sales.orders"),
        },
        Figure {
            what: "buyers",
            expected: "328",
            sql: "SELECT count(DISTINCT subject_id) FROM sales.orders",
            report: |r| by(r.of(BY_CUSTOMER), |row| row.text("customer_id")).len().to_string(),
        },
        Figure {
            what: "buyers who bought more than once",
            expected: "104",
            sql: "SELECT count(*) FROM (SELECT FROM sales.orders GROUP BY subject_id HAVING count(*) > 1) c",
            report: |r| r.customers_with_several(|row| row.text("order_id")),
        },
    ],
};

/// Mails of mailing lists.
pub(super) const MAIL: Figures = Figures {
    reports: &["service.messages", "service.thread_waits"],
    figures: &[
        Figure {
            what: "messages",
            expected: "4150",
            sql: "SELECT count(*) FROM service.messages",
            report: |r| r.rows("service.messages"),
        },
        Figure {
            what: "messages with In-Reply-To",
            expected: "1746",
            sql: "SELECT count(*) FROM service.messages WHERE in_reply_to IS NOT NULL",
            report: |r| r.such("service.messages", |row| row.text("in_reply_to").is_some()),
        },
        Figure {
            what: "messages of which the parent is there",
            expected: "1239",
            sql: "SELECT count(*) FROM service.messages WHERE parent_message_id IS NOT NULL",
            report: |r| r.such("service.messages", |row| row.text("parent_message_id").is_some()),
        },
        Figure {
            what: "replies dated before their parent",
            expected: "16",
            sql: "SELECT count(*) FROM service.messages WHERE dated_before_parent",
            report: |r| r.such("service.messages", |row| row.text("dated_before_parent") == Some("true")),
        },
        Figure {
            // All of them, those that are dated before their parent too.
            what: "median minutes from parent to reply",
            expected: "97.2",
            sql: "SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY wait) / 60)::numeric, 1)
                  FROM (
                      SELECT extract(epoch FROM sent_at - parent_at) AS wait
                      FROM service.messages WHERE parent_message_id IS NOT NULL
                  ) m",
            report: |r| {
                let replies = r.of("service.messages").iter().filter(|row| row.text("parent_message_id").is_some());
                let mut waits: Vec<i64> =
                    replies.map(|row| micros(row, "sent_at") - micros(row, "parent_at")).collect();
                waits.sort_unstable();
                let middle = (waits[(waits.len() - 1) / 2] + waits[waits.len() / 2]) / 2;
                format!("{:.1}", middle as f64 / 60e6)
            },
        },
        Figure {
            what: "replies with a time that it took",
            expected: "1223",
            sql: "SELECT count(reply_min) FROM service.messages",
            report: |r| r.such("service.messages", |row| row.text("reply_min").is_some()),
        },
        Figure {
            what: "negative times from parent to reply",
            expected: "0",
            sql: "SELECT count(*) FROM service.messages WHERE reply_min < 0",
            report: |r| r.such("service.messages", |row| row.text("reply_min").is_some_and(|min| min.starts_with('-'))),
        },
        Figure {
            what: "negative waiting times",
            expected: "0",
            sql: "SELECT count(*) FROM service.thread_waits WHERE wait_s < 0",
            report: |r| {
                r.such("service.thread_waits", |row| row.text("wait_s").is_some_and(|wait| wait.starts_with('-')))
            },
        },
    ],
};
