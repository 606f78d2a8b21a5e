use domain::position::Offsets;
use domain::{Namespace, Position};
use projection::digest::{self, ModelDigest};
use projection::generation::State;
use projection::{ReadModel, compare, positions};
use projector_customer360::Customer360;
use serde_json::json;
use service_kit::Config;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{DIGEST_TIMEOUT, connect};
use crate::cli::DigestArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::{say, services};

/// `rapport digest`.
pub(crate) async fn digest(config: &Config, args: &DigestArgs) -> Outcome {
    let mut database = connect(config, DIGEST_TIMEOUT).await?;
    let computing = Computing { args, database: &mut database };
    // Views are read as they stand: neither the namespace nor a limit plays a part.
    let customer360 = Customer360::new(Namespace::new(Uuid::nil()));
    services::with_model(args.model, customer360, computing).await
}

/// What is done with the model once it is known which it is.
struct Computing<'a> {
    args: &'a DigestArgs,
    database: &'a mut PgConnection,
}

impl services::WithModel for Computing<'_> {
    type Output = Outcome;

    async fn run<M: ReadModel>(self, model: M) -> Outcome {
        let Self { args, database } = self;
        let name = model.name();
        let listed = super::generations_of(database, name).await?;
        let Some(live) = listed.iter().find(|l| l.state == State::Live) else {
            let sentence = format_args!("{name} has no live generation; has its projector run on this database?");
            return Err(Failure::new(Exit::Unavailable, sentence));
        };
        let wanted = args.generation.unwrap_or(live.generation.number);
        let Some(found) = listed.iter().find(|l| l.generation.number == wanted && l.is_loaded) else {
            let live = live.generation.number;
            let sentence = format_args!("{name} has no generation {wanted} that is built; the live one is {live}");
            return Err(Failure::new(Exit::BadInput, sentence));
        };
        let number = found.generation.number;
        let (computed, position) = if found.state == State::Live {
            steady(database, &model).await?
        } else {
            let (computed, at) =
                compare::digest_of(database, &model, &found.generation).await.or_exit(Exit::Unavailable)?;
            let log_id = positions::log_id(database).await.or_exit(Exit::Unavailable)?;
            (computed, log_id.map(|id| Position::new(id, at)))
        };
        if args.output.json {
            let views: Vec<_> = computed
                .views
                .iter()
                .map(|v| json!({"view": v.view, "rows": v.count, "sum": format!("{:032x}", v.sum)}))
                .collect();
            let token = position.as_ref().map(Position::token);
            say::json(
                &json!({"model": name, "generation": number, "position": token, "views": views, "digest": computed.digest}),
            );
            return Ok(());
        }
        let mut rows = vec![["view", "rows", "sum of md5"].map(str::to_owned).to_vec()];
        rows.extend(
            computed.views.iter().map(|v| vec![v.view.clone(), v.count.to_string(), format!("{:032x}", v.sum)]),
        );
        say::table(&rows);
        say::line(format_args!("\n{name} generation {} {}", number, computed.digest));
        if let Some(position) = position {
            say::line(format_args!("position {}", position.token()));
        }
        Ok(())
    }
}

/// The digest, and the position it was computed at: `None` when the model moved on meanwhile.
async fn steady<M: ReadModel>(database: &mut PgConnection, model: &M) -> Outcome<(ModelDigest, Option<Position>)> {
    let before = reached(database, model.name()).await?;
    let computed = digest::model(database, model).await.or_exit(Exit::Unavailable)?;
    let after = reached(database, model.name()).await?;
    let log_id = positions::log_id(database).await.or_exit(Exit::Unavailable)?;
    let position = log_id.filter(|_| before == after).map(|id| Position::new(id, before));
    Ok((computed, position))
}

async fn reached(database: &mut PgConnection, model: &str) -> Outcome<Offsets> {
    Ok(positions::read(database).await.or_exit(Exit::Unavailable)?.remove(model).unwrap_or_default())
}
