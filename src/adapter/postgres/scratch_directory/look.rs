//! Looking through a server: everything that it has can be read.

use super::super::config::Config;
use super::super::connect::connect;
use super::super::connection::Connection;
use super::super::conninfo::{ConnInfo, ConnInfoError};
use super::super::local_server::RunningServer;
use super::super::message::Row;
use super::super::replication::literal;
use crate::model::Trial;
use crate::port::{PortError, PortErrorKind, explain};

const DOING: &str = "looking through the restored server";
/// How many faults are named.
const FAULTS_MAX: usize = 100;

/// Above all that a role or a database may set: no limits of time, no libraries that may not be here, and no names but PostgreSQL's own.
/// Indexes are not to answer for tables.
const OPTIONS: [(&str, &str); 11] = [
    ("session_preload_libraries", ""),
    ("local_preload_libraries", ""),
    ("search_path", "pg_catalog"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("zero_damaged_pages", "off"),
    ("enable_indexscan", "off"),
    ("enable_indexonlyscan", "off"),
    ("enable_bitmapscan", "off"),
];

/// What only some versions know, but may be set too.
const NEWER_OPTIONS: &str = "SELECT set_config(name, CASE vartype WHEN 'bool' THEN 'off' ELSE '0' END, false) \
     FROM pg_settings WHERE name IN ('transaction_timeout', 'event_triggers')";
const DATABASES: &str = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY oid";
/// Where `amcheck` is, and whether it could be.
const AMCHECK: &str = "SELECT (SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace \
     WHERE extname = 'amcheck'), (SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck')";
const CREATE_AMCHECK: [&str; 2] = ["CREATE SCHEMA pitr_amcheck", "CREATE EXTENSION amcheck SCHEMA pitr_amcheck"];
/// A cluster that was upgraded may have an older one, which knows no tables.
const UPDATE_AMCHECK: &str = "ALTER EXTENSION amcheck UPDATE";
/// What is wrong with a relation; null if nothing is.
const LOOK: &str = "CREATE FUNCTION pg_temp.pitr_look(relation regclass, kind \"char\", amcheck text) RETURNS text LANGUAGE plpgsql AS $$ \
     DECLARE fault text; \
     BEGIN \
       IF kind = 'i' THEN \
         EXECUTE format('SELECT %s.bt_index_check($1, false)', amcheck) USING relation; \
       ELSIF amcheck IS NOT NULL THEN \
         EXECUTE format('SELECT format(''block %%s, line pointer %%s: %%s'', blkno, offnum, msg) \
                         FROM %s.verify_heapam($1, on_error_stop => true, check_toast => true) LIMIT 1', amcheck) \
           INTO fault USING relation; \
       ELSE \
         EXECUTE format('SELECT NULL FROM (SELECT count(*) FROM %s) counted', relation) INTO fault; \
       END IF; \
       RETURN relation || ': ' || fault; \
     EXCEPTION WHEN OTHERS THEN RETURN relation || ': ' || SQLERRM; \
     END $$";

/// Looks through all databases as `role`, and notes in `trial` what was found.
pub(super) async fn through(server: &RunningServer, role: &str, mut trial: Trial) -> Result<Trial, PortError> {
    let mut connection = connect_to(server, role, "template1").await?;
    trial.postgres = connection.show("server_version").await?;
    let databases = connection.patient_query(DOING, DATABASES).await?;
    connection.close().await;
    trial.amcheck = true;
    for database in databases.iter().filter_map(|row| text(row, 0)) {
        trial.databases += 1;
        // One that cannot be looked through is no reason not to look at the others.
        if let Err(error) = look_at(server, role, &database, &mut trial).await {
            note(&mut trial, &database, &explain(&error));
        }
    }
    Ok(trial)
}

async fn look_at(server: &RunningServer, role: &str, database: &str, trial: &mut Trial) -> Result<(), PortError> {
    let mut connection = connect_to(server, role, database).await?;
    connection.patient_query(DOING, NEWER_OPTIONS).await?;
    let amcheck = amcheck(&mut connection).await?;
    trial.amcheck &= amcheck.is_some();
    connection.patient_query(DOING, LOOK).await?;
    for row in connection.patient_query(DOING, &look_at_all(amcheck.as_deref())).await? {
        trial.relations += connection.field::<u64>(&row, 0)?;
        if let Some(fault) = text(&row, 1) {
            note(trial, database, &fault);
        }
    }
    connection.close().await;
    Ok(())
}

/// The schema in which `amcheck` is, which is made if it can be.
async fn amcheck(connection: &mut Connection) -> Result<Option<String>, PortError> {
    let rows = connection.patient_query(DOING, AMCHECK).await?;
    let row = connection.single(rows)?;
    if let Some(schema) = text(&row, 0) {
        connection.patient_query(DOING, UPDATE_AMCHECK).await?;
        return Ok(Some(schema));
    }
    if connection.field::<u64>(&row, 1)? == 0 {
        return Ok(None);
    }
    for statement in CREATE_AMCHECK {
        connection.patient_query(DOING, statement).await?;
    }
    Ok(Some("pitr_amcheck".to_owned()))
}

/// Gives how many relations there are, by what is wrong with them: mostly nothing. Indexes are looked at only by `amcheck`.
fn look_at_all(amcheck: Option<&str>) -> String {
    let schema = amcheck.map_or_else(|| "NULL".to_owned(), literal);
    format!(
        "SELECT count(*), fault FROM (SELECT pg_temp.pitr_look(c.oid, c.relkind, {schema}) AS fault \
           FROM pg_class c JOIN pg_am a ON a.oid = c.relam LEFT JOIN pg_index i ON i.indexrelid = c.oid \
           WHERE c.relpersistence = 'p' AND (c.relkind IN ('r', 't', 'm') AND a.amname = 'heap' \
             OR {schema} IS NOT NULL AND c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid AND i.indisready)) looked \
         GROUP BY fault ORDER BY fault NULLS FIRST LIMIT {}",
        FAULTS_MAX + 1
    )
}

async fn connect_to(server: &RunningServer, role: &str, database: &str) -> Result<Connection, PortError> {
    let unfit = |error| PortError::new(PortErrorKind::Invalid, "no connection can be described").caused_by(error);
    let config: Config = conninfo(server, role, database).and_then(TryInto::try_into).map_err(unfit)?;
    connect(&config.with_sql()).await
}

fn conninfo(server: &RunningServer, role: &str, database: &str) -> Result<ConnInfo, ConnInfoError> {
    let options = OPTIONS.map(|(name, value)| format!("-c {name}={value}")).join(" ");
    ConnInfo::new()
        .with("host", &server.socket_directory().display().to_string())?
        .with("port", &server.port().to_string())?
        .with("user", role)?
        .with("dbname", database)?
        .with("options", &options)
}

fn text(row: &Row, column: usize) -> Option<String> {
    row.get(column)?.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn note(trial: &mut Trial, database: &str, fault: &str) {
    if trial.faults.len() < FAULTS_MAX {
        trial.faults.push(format!("database {database:?}, {fault}"));
    }
}
