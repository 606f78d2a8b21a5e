//! The views over more than one model: made by this service, on the models' stable views, in their schemas. They are made
//! again when a view below them gains a column or a generation is dropped with what hangs on it.

use std::time::Duration;

use projection::backbone::SETUP_LOCK_KEY;
use service_kit::Health;
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::sleep;

/// The condition of readiness that these views are there, or never will be.
pub(crate) const VIEWS: &str = "views";

/// Replacing a view waits this long for running queries before it lets them pass and tries again.
const LIMITS: &str = "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '30s'; \
                      SET LOCAL idle_in_transaction_session_timeout = '30s'";
/// Between two looks while views are missing.
const MISSING_INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks once all are there.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a look or an installation may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One view: its name, the view whose columns it goes on from (their comments are taken over), and its file.
struct View {
    name: &'static str,
    base: &'static str,
    sql: &'static str,
}

/// In an order in which each can be made.
///
/// A view by customer is a union of three: what belongs to a customer of the identity graph, what belongs to hubs and so
/// stands for itself, and what the graph does not know. So a filter on the customer goes by indexes in each of them, and the
/// last is asked of `customer360.subjects`, of which PostgreSQL then reads nothing but the ids.
const ALL: [View; 10] = [
    View {
        name: "sales.orders_by_customer",
        base: "sales.orders",
        sql: include_str!("../sql/views/sales.orders_by_customer.sql"),
    },
    View {
        name: "sales.order_lines_by_customer",
        base: "sales.order_lines",
        sql: include_str!("../sql/views/sales.order_lines_by_customer.sql"),
    },
    View {
        name: "sales.product_performance_by_customer",
        base: "sales.order_lines",
        sql: include_str!("../sql/views/sales.product_performance_by_customer.sql"),
    },
    View {
        name: "sales.carts_by_customer",
        base: "sales.carts",
        sql: include_str!("../sql/views/sales.carts_by_customer.sql"),
    },
    View {
        name: "service.cases_by_customer",
        base: "service.cases",
        sql: include_str!("../sql/views/service.cases_by_customer.sql"),
    },
    View {
        name: "service.calls_by_customer",
        base: "service.calls",
        sql: include_str!("../sql/views/service.calls_by_customer.sql"),
    },
    View {
        name: "service.threads_by_customer",
        base: "service.threads",
        sql: include_str!("../sql/views/service.threads_by_customer.sql"),
    },
    View {
        name: "service.waiting_by_customer",
        base: "service.waiting",
        sql: include_str!("../sql/views/service.waiting_by_customer.sql"),
    },
    View {
        name: "service.messages_by_customer",
        base: "service.messages",
        sql: include_str!("../sql/views/service.messages_by_customer.sql"),
    },
    View {
        name: "customer360.summary",
        base: "customer360.timeline",
        sql: include_str!("../sql/views/customer360.summary.sql"),
    },
];

/// What these views are made of.
const BELOW: [&str; 14] = [
    "sales.orders",
    "sales.order_lines",
    "sales.carts",
    "sales.cart_contents",
    "service.cases",
    "service.calls",
    "service.threads",
    "service.waiting",
    "service.messages",
    "customer360.subjects",
    "customer360.timeline",
    "backbone.customer360_subjects",
    "backbone.customer360_hub_subjects",
    "backbone.generations",
];

/// Why the views are not there.
#[derive(Debug, thiserror::Error)]
enum ViewsError {
    /// What they are made of is not there yet.
    #[error("the models' own views are not there yet: {0} is missing")]
    Below(String),
    /// PostgreSQL refuses a statement.
    #[error("a view over more than one model could not be made")]
    Database(#[from] sqlx::Error),
}

/// Keeps the views there. `database`: a session that may write.
pub(crate) async fn keep(database: PgConnectOptions, health: Health) {
    let mut keeper = Keeper { database, connection: None, made_of: String::new() };
    let mut told = false;
    loop {
        let looked = tokio::time::timeout(TIMEOUT, keeper.look()).await;
        let pause = match looked {
            Ok(Ok(())) => {
                health.holds(VIEWS);
                INTERVAL
            }
            // Who may not make them answers everything else; the reports that are there are listed all the same.
            Ok(Err(ViewsError::Database(error))) if is_forbidden(&error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        error = %error,
                        "this role may not make the views over more than one model; let a query service whose role may \
                         create views in the schemas sales, service and customer360 run once on this database"
                    );
                }
                health.holds(VIEWS);
                INTERVAL
            }
            Ok(Err(error)) => keeper.missed(&health, &error.to_string()),
            Err(_) => keeper.missed(&health, &format!("they were not made within {} s", TIMEOUT.as_secs())),
        };
        sleep(pause).await;
    }
}

/// A connection of its own, and what the views were last made of.
struct Keeper {
    database: PgConnectOptions,
    connection: Option<PgConnection>,
    made_of: String,
}

impl Keeper {
    /// Views once made go on being there while what is below them is replaced: only who never had them is not ready.
    fn missed(&self, health: &Health, reason: &str) -> Duration {
        tracing::debug!(reason, "the views over more than one model are not made");
        if self.made_of.is_empty() {
            health.fails(VIEWS, reason);
        }
        MISSING_INTERVAL
    }

    async fn look(&mut self) -> Result<(), ViewsError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.database).await?,
        };
        let before = signature(&mut connection).await?;
        if before.is_empty() || before != self.made_of {
            // A replica is given them by its primary.
            let in_recovery: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await?;
            if !in_recovery {
                install(&mut connection).await?;
            }
            self.made_of = signature(&mut connection).await?;
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// What is below the views and in them, as one text: it changes when a view comes, goes, or gains a column.
async fn signature(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let names: Vec<&str> = BELOW.into_iter().chain(ALL.iter().map(|view| view.name)).collect();
    sqlx::query_scalar(include_str!("../sql/views_signature.sql")).bind(names).fetch_one(connection).await
}

/// Makes all views that are not as they are to be, each in a transaction of its own.
async fn install(connection: &mut PgConnection) -> Result<(), ViewsError> {
    let missing: Option<String> = sqlx::query_scalar(
        "SELECT name FROM unnest($1::text[]) WITH ORDINALITY AS b (name, n) WHERE to_regclass(name) IS NULL ORDER BY n LIMIT 1",
    )
    .bind(&BELOW[..])
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(name) = missing {
        return Err(ViewsError::Below(name));
    }
    for view in &ALL {
        make(connection, view).await?;
    }
    Ok(())
}

async fn make(connection: &mut PgConnection, view: &View) -> Result<(), ViewsError> {
    let mut tx = connection.begin().await?;
    tx.execute(LIMITS).await?;
    // The projectors hold it as well while they make theirs: two grants on one view at once would fail.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SETUP_LOCK_KEY).execute(&mut *tx).await?;
    let (select, comments) = split(view.sql);
    // The columns that the SELECT gives, `*` among them, are PostgreSQL's to tell.
    tx.execute(format!("CREATE TEMPORARY VIEW rapport_view AS {select}").as_str()).await?;
    let given = columns_of(&mut tx, "pg_temp.rapport_view").await?;
    tx.execute("DROP VIEW pg_temp.rapport_view").await?;
    let there = columns_of(&mut tx, view.name).await?;
    let Some(columns) = merged(&there, &given) else {
        // A newer version has been here: its views have all that ours have.
        tracing::info!(view = view.name, "left as it is: it has columns that this version does not know");
        return Ok(());
    };
    let columns: Vec<String> = columns.into_iter().map(quoted).collect();
    let statements = format!(
        "CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM ({select}) AS v; {comments}; GRANT SELECT ON {name} TO analyst",
        name = view.name,
        columns = columns.join(", "),
    );
    tx.execute(statements.as_str()).await?;
    let taken_over: Vec<String> = sqlx::query_scalar(include_str!("../sql/view_comments.sql"))
        .bind(view.name)
        .bind(view.base)
        .fetch_all(&mut *tx)
        .await?;
    for comment in &taken_over {
        tx.execute(comment.as_str()).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn columns_of(connection: &mut PgConnection, relation: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(include_str!("../sql/view_columns.sql")).bind(relation).fetch_all(connection).await
}

/// The SELECT of a view's file, and the comments behind it.
fn split(sql: &str) -> (&str, &str) {
    let (select, comments) = sql.split_once(";\n").unwrap_or((sql, ""));
    (select.trim(), comments.trim().trim_end_matches(';'))
}

/// A view only ever gains columns, at its end: those that are there in their order, then the others. `None` where one
/// that is there is not given any more.
fn merged<'a>(there: &'a [String], given: &'a [String]) -> Option<Vec<&'a str>> {
    there.iter().all(|column| given.contains(column)).then(|| {
        let gained = given.iter().filter(|column| !there.contains(column));
        there.iter().chain(gained).map(String::as_str).collect()
    })
}

/// An identifier of PostgreSQL, quoted.
pub(crate) fn quoted(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref().replace('"', "\"\""))
}

/// Insufficient privilege.
fn is_forbidden(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("42501"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn columns_are_only_ever_gained_at_the_end() {
        let check = |there: &[&str], given: &[&str], expected: Option<&[&str]>| {
            let (there, given) = (texts(there), texts(given));
            assert_eq!(merged(&there, &given).as_deref(), expected, "{there:?} {given:?}");
        };
        check(&[], &["a", "b"], Some(&["a", "b"]));
        // `orders` has gained c, which stands before the customer's columns in the file and behind them in the view.
        check(&["a", "customer_id"], &["a", "c", "customer_id"], Some(&["a", "customer_id", "c"]));
        check(&["a", "newer"], &["a"], None);
    }

    #[test]
    fn every_file_is_a_select_and_comments_on_it() {
        for view in &ALL {
            let (select, comments) = split(view.sql);
            assert!(select.starts_with("SELECT") && !select.contains(';'), "{}", view.name);
            assert!(comments.starts_with(&format!("COMMENT ON VIEW {} IS ", view.name)), "{}", view.name);
            for line in comments.lines().skip(1) {
                assert!(line.starts_with(&format!("COMMENT ON COLUMN {}.", view.name)), "{}: {line}", view.name);
            }
        }
    }
}
