//! Every statement under `sql/` fits the real schemas.

use domain::Namespace;
use projection::Direct;
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use sqlx::{Executor, PgConnection};

/// By which indexes each goes is told in `access_paths`.
#[tokio::test]
async fn every_statement_fits_the_schemas() {
    let url = test_kit::postgres().await;
    let namespace = Namespace::new(uuid::Uuid::from_u128(7));
    Direct::open(&url, Sales, namespace).await.expect("sales is created");
    Direct::open(&url, Service, namespace).await.expect("service is created");
    let mut graph = Direct::open(&url, Customer360::new(namespace), namespace).await.expect("customer360 is created");
    let path =
        "SELECT set_config('search_path', schema_name, false) FROM backbone.generations WHERE model = 'customer360'";
    let connection: &mut PgConnection = &mut graph.connection;
    sqlx::query(path).execute(&mut *connection).await.expect("there is a generation");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("a folder") {
        let file = file.expect("an entry").path();
        if file.is_dir() {
            continue;
        }
        let sql = crate::world::named(&std::fs::read_to_string(&file).expect("a statement"));
        let prepared = connection.prepare(&sql).await;
        assert!(prepared.is_ok(), "{}: {:?}", file.display(), prepared.err());
        count += 1;
    }
    assert!(count > 10, "{count} statements");
}
