//! Binary COPY writes what it was given.

use projection::copy::{CopyBuffer, copy_in};
use uuid::Uuid;

#[tokio::test]
async fn every_type_comes_out_as_it_went_in() {
    let url = test_kit::postgres().await;
    let mut connection = projection::database::connect(&url, "test").await.expect("the database answers");
    sqlx::raw_sql(
        "CREATE TABLE t (a boolean, b smallint, c integer, d bigint, e double precision, f uuid, g text, h bytea, i jsonb,
                         j json, k timestamptz, l date, m numeric, n text[], o uuid[])",
    )
    .execute(&mut connection)
    .await
    .expect("the table is created");
    let mut buffer = CopyBuffer::new(15);
    let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
    buffer
        .begin_row()
        .put_bool(true)
        .put_i16(-2)
        .put_i32(-3)
        .put_i64(-4)
        .put_f64(0.5)
        .put_uuid(ids[0])
        .put_text("ä\n\t\\N")
        .put_bytes(&[0, 255])
        .put_jsonb(br#"{"a": 1.50}"#)
        .put_text(r#"{"a":  1.50}"#)
        .put_timestamptz(-2_208_988_800_000_001)
        .put_date(-1)
        .put_numeric("-12.340")
        .put_text_array(&["x", ""])
        .put_uuid_array(&ids);
    buffer.begin_row();
    for _ in 0..13 {
        buffer.put_null();
    }
    buffer.put_text_array::<&str>(&[]).put_opt(None, |b, ids: &[Uuid]| b.put_uuid_array(ids));
    assert_eq!(copy_in(&mut connection, "COPY t FROM STDIN BINARY", buffer).await.expect("the rows are taken"), 2);
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT t::text FROM t ORDER BY a").fetch_all(&mut connection).await.expect("read");
    assert_eq!(
        rows,
        [
            "(t,-2,-3,-4,0.5,00000000-0000-0000-0000-000000000001,\"ä\n\t\\\\N\",\"\\\\x00ff\",\"{\"\"a\"\": 1.50}\",\
             \"{\"\"a\"\":  1.50}\",\"1899-12-31 23:59:59.999999+00\",1969-12-31,-12.340,\"{x,\"\"\"\"}\",\
             \"{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002}\")",
            "(,,,,,,,,,,,,,{},)",
        ]
    );
    assert_eq!(
        copy_in(&mut connection, "COPY nowhere FROM STDIN BINARY", CopyBuffer::new(1)).await.expect("nothing"),
        0
    );
}

#[tokio::test]
async fn arrays_of_numbers_and_times() {
    let url = test_kit::postgres().await;
    let mut connection = projection::database::connect(&url, "test").await.expect("the database answers");
    let create = "CREATE TABLE a (n integer, b bigint[], t timestamptz[])";
    sqlx::raw_sql(create).execute(&mut connection).await.expect("the table is created");
    let mut buffer = CopyBuffer::new(3);
    buffer.begin_row().put_i32(1).put_i64_array(&[-1, i64::MAX]).put_timestamptz_array(&[0, 1_772_438_400_000_001]);
    buffer.begin_row().put_i32(2).put_i64_array(&[]).put_timestamptz_array(&[]);
    assert_eq!(copy_in(&mut connection, "COPY a FROM STDIN BINARY", buffer).await.expect("the rows are taken"), 2);
    let sql = "SELECT b::text || (t::timestamp[])::text FROM a ORDER BY n";
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("read");
    let first = "{-1,9223372036854775807}{\"1970-01-01 00:00:00\",\"2026-03-02 08:00:00.000001\"}";
    assert_eq!(rows, [first, "{}{}"]);
}

#[tokio::test]
async fn numerics_keep_their_digits() {
    let url = test_kit::postgres().await;
    let mut connection = projection::database::connect(&url, "test").await.expect("the database answers");
    sqlx::raw_sql("CREATE TABLE n (at serial, v numeric)").execute(&mut connection).await.expect("created");
    let texts = [
        "0",
        "0.000",
        "1",
        "-1",
        "10000",
        "9999",
        "10000.0001",
        "0.5",
        "0.00005",
        "-0.1",
        "123456789012345678.123456789",
        "100000000",
        "1.10",
        "99990000",
        "-0.00000001",
        "20000000000.5",
    ];
    let mut buffer = CopyBuffer::new(1);
    for text in texts {
        buffer.begin_row().put_numeric(text);
    }
    copy_in(&mut connection, "COPY n (v) FROM STDIN BINARY", buffer).await.expect("the rows are taken");
    let back: Vec<String> =
        sqlx::query_scalar("SELECT v::text FROM n ORDER BY at").fetch_all(&mut connection).await.expect("read");
    assert_eq!(back, texts);
}

#[tokio::test]
async fn a_refused_row_leaves_a_usable_connection() {
    let url = test_kit::postgres().await;
    let mut connection = projection::database::connect(&url, "test").await.expect("the database answers");
    sqlx::raw_sql("CREATE TABLE u (i int PRIMARY KEY)").execute(&mut connection).await.expect("created");
    // Large enough that PostgreSQL answers while rows are still being sent.
    for rows in [2, 500_000] {
        let mut buffer = CopyBuffer::new(1);
        for n in 0..rows {
            buffer.begin_row().put_i32(n / 2);
        }
        let error = copy_in(&mut connection, "COPY u FROM STDIN BINARY", buffer).await.expect_err("a unique violation");
        assert_eq!(projection::database::classify(&error), projection::database::Class::UniqueViolation, "{error}");
        let one: i32 =
            sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await.expect("the connection is usable");
        assert_eq!(one, 1);
    }
}
