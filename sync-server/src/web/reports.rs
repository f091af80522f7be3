//! Figures, the sales behind them, stock, devices, exceptions: questions read, answers as JSON or as a file.

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::WebState;
use super::accounts::Manager;
use super::answer::Refusal;
use super::api::{BODY_BYTES_MAX, bad_body};
use crate::central::reports::exceptions::ExceptionsQuestion;
use crate::central::reports::export::{self, ExportError, Table};
use crate::central::reports::list::{Chosen, ListQuestion};
use crate::central::reports::open_orders::OpenOrdersQuestion;
use crate::central::reports::sales::SalesQuestion;
use crate::central::reports::shifts::ShiftsQuestion;
use crate::central::reports::stock::{MovementsQuestion, StockQuestion};
use crate::central::reports::{self, Period, ReportError};
use crate::web_api::{Basis, ExceptionRow, GroupBy, LiveEvent, OrderKind, ReviewRequest, SaleDetail};

/// How many files are written at once; each holds a connection to the central database.
pub(super) const FILES_AT_ONCE: usize = 3;

/// How a table is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

type Asked<T> = Result<Query<T>, QueryRejection>;

/// What was asked, or a sentence that says what cannot be understood and what can be.
fn asked<T>(query: Asked<T>, with: &str) -> Result<T, Refusal> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => {
            let text = rejection.body_text();
            let why = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, why)| why);
            let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(Refusal::BadRequest(format!("Ask with {with} ({why}).")))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SalesQuery {
    from: String,
    to: String,
    group_by: GroupBy,
    basis: Option<Basis>,
    time_zone: Option<String>,
    store: Option<String>,
    currency: Option<String>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn sales(State(state): State<WebState>, query: Asked<SalesQuery>) -> Result<Response, Refusal> {
    let q = asked(
        query,
        "from=YYYY-MM-DD, to=YYYY-MM-DD and group_by=day, hour, till, cashier, product, category, tender or tax_rate",
    )?;
    let period = Period::new(&q.from, &q.to, q.basis, q.time_zone.as_deref(), q.store.as_deref())?;
    let question = SalesQuestion::new(period, q.group_by, q.currency.as_deref())?;
    let (central, now_ms) = (&state.shared.central, state.shared.env.unix_ms());
    if q.format == Format::Json {
        return Ok(Json(reports::sales::sales(central, &question, now_ms).await?).into_response());
    }
    let _turn = turn(&state)?;
    let (name, text) = export::report(&reports::sales::sales(central, &question.for_a_file(), now_ms).await?)?;
    Ok(file(&name, Body::from(text)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    from: String,
    to: String,
    basis: Option<Basis>,
    time_zone: Option<String>,
    store: Option<String>,
    hour: Option<i64>,
    till: Option<String>,
    cashier: Option<String>,
    product: Option<String>,
    category: Option<String>,
    tender: Option<String>,
    tax_rate_bp: Option<i64>,
    kind: Option<OrderKind>,
    currency: Option<String>,
    search: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn sales_list(State(state): State<WebState>, query: Asked<ListQuery>) -> Result<Response, Refusal> {
    let q = asked(query, "from=YYYY-MM-DD and to=YYYY-MM-DD, and the keys of a report's rows")?;
    let period = Period::new(&q.from, &q.to, q.basis, q.time_zone.as_deref(), q.store.as_deref())?;
    let chosen = Chosen {
        hour: q.hour,
        till: q.till.as_deref(),
        cashier: q.cashier.as_deref(),
        product: q.product.as_deref(),
        category: q.category.as_deref(),
        tender: q.tender.as_deref(),
        tax_rate_bp: q.tax_rate_bp,
        kind: q.kind,
        currency: q.currency.as_deref(),
        search: q.search.as_deref(),
    };
    let question = ListQuestion::new(period, &chosen, q.after.as_deref(), q.limit)?;
    match q.format {
        Format::Json => json(reports::list::sales_page(&state.shared.central, &question, state.shared.env.unix_ms()).await),
        Format::Csv => table(&state, Table::Sales(question)).await,
    }
}

pub(super) async fn sale(
    State(state): State<WebState>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<SaleDetail>, Refusal> {
    let Path((store, order)) = path.map_err(|_| Refusal::NotFound)?;
    Ok(Json(reports::detail::sale(&state.shared.central, &store, &order).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StockQuery {
    store: Option<String>,
    search: Option<String>,
    category: Option<String>,
    below_milli: Option<i64>,
    after: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn stock(State(state): State<WebState>, query: Asked<StockQuery>) -> Result<Response, Refusal> {
    let q = asked(query, "store, search, category, below_milli, after and limit, all optional")?;
    let (store, search, category) = (q.store.as_deref(), q.search.as_deref(), q.category.as_deref());
    let question = StockQuestion::new(store, search, category, q.below_milli, q.after.as_deref(), q.limit)?;
    match q.format {
        Format::Json => json(reports::stock::levels(&state.shared.central, &question, state.shared.env.unix_ms()).await),
        Format::Csv => table(&state, Table::Stock(question)).await,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MovementsQuery {
    after: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn movements(
    State(state): State<WebState>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Asked<MovementsQuery>,
) -> Result<Response, Refusal> {
    let Path((store, product)) = path.map_err(|_| Refusal::NotFound)?;
    let q = asked(query, "after and limit, both optional")?;
    let question = MovementsQuestion::new(&store, &product, q.after.as_deref(), q.limit)?;
    match q.format {
        Format::Json => json(reports::stock::movements(&state.shared.central, &question, state.shared.env.unix_ms()).await),
        Format::Csv => table(&state, Table::Movements(question)).await,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenOrdersQuery {
    store: Option<String>,
    search: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

pub(super) async fn open_orders(State(state): State<WebState>, query: Asked<OpenOrdersQuery>) -> Result<Response, Refusal> {
    let q = asked(query, "store, search, after and limit, all optional")?;
    let question = OpenOrdersQuestion::new(q.store.as_deref(), q.search.as_deref(), q.after.as_deref(), q.limit)?;
    json(reports::open_orders::open_orders(&state.shared.central, &question, state.shared.env.unix_ms()).await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShiftsQuery {
    from: Option<String>,
    to: Option<String>,
    store: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

pub(super) async fn shifts(State(state): State<WebState>, query: Asked<ShiftsQuery>) -> Result<Response, Refusal> {
    let q = asked(query, "from, to, store, after and limit, all optional")?;
    let question = ShiftsQuestion::new((q.from.as_deref(), q.to.as_deref()), q.store.as_deref(), q.after.as_deref(), q.limit)?;
    json(reports::shifts::shifts(&state.shared.central, &question, state.shared.env.unix_ms()).await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DevicesQuery {
    #[serde(default)]
    format: Format,
}

pub(super) async fn devices(State(state): State<WebState>, query: Asked<DevicesQuery>) -> Result<Response, Refusal> {
    let q = asked(query, "format=csv or nothing")?;
    let (central, now_ms) = (&state.shared.central, state.shared.env.unix_ms());
    match q.format {
        Format::Json => json(reports::devices::devices(central, state.live(), now_ms).await),
        Format::Csv => {
            let _turn = turn(&state)?;
            let (name, text) = export::device_file(central, state.live(), now_ms).await?;
            Ok(file(&name, Body::from(text)))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionsQuery {
    state: Option<String>,
    kind: Option<String>,
    store: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn exceptions(State(state): State<WebState>, query: Asked<ExceptionsQuery>) -> Result<Response, Refusal> {
    let q = asked(query, "state=open or state=all, kind, store, after and limit, all optional")?;
    let (of, kind, store) = (q.state.as_deref(), q.kind.as_deref(), q.store.as_deref());
    let question = ExceptionsQuestion::new(of, kind, store, q.after.as_deref(), q.limit)?;
    match q.format {
        Format::Json => json(reports::exceptions::exceptions(&state.shared.central, &question).await),
        Format::Csv => table(&state, Table::Exceptions(question)).await,
    }
}

pub(super) async fn review(
    State(state): State<WebState>,
    Extension(Manager { name: manager, .. }): Extension<Manager>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReviewRequest>, JsonRejection>,
) -> Result<Json<ExceptionRow>, Refusal> {
    let Path(id) = path.map_err(|_| Refusal::NotFound)?;
    let Json(request) = body.map_err(|e| bad_body(&e, BODY_BYTES_MAX))?;
    let now_ms = state.shared.env.unix_ms();
    let (row, open) = reports::exceptions::review(&state.shared.central, &id, &manager, &request.note, now_ms).await?;
    tracing::info!(manager, exception = id, "an exception was looked at");
    state.live().send(LiveEvent::Exceptions { open });
    Ok(Json(row))
}

fn json<T: Serialize>(answer: Result<T, ReportError>) -> Result<Response, Refusal> {
    Ok(Json(answer?).into_response())
}

/// A turn at writing a file.
pub(super) fn turn(state: &WebState) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
    let busy = || Refusal::Busy(format!("{FILES_AT_ONCE} files are being written. Try again in a minute."));
    state.shared.turns.files.clone().try_acquire_owned().map_err(|_| busy())
}

/// A whole table as a file, sent while it is read.
async fn table(state: &WebState, table: Table) -> Result<Response, Refusal> {
    let turn = turn(state)?;
    let name = export::name(&table);
    let mut pieces = export::export(state.shared.central.clone(), table, state.shared.env.unix_ms());
    // The first piece says whether there is a file at all.
    let first = match pieces.recv().await {
        Some(Ok(first)) => first,
        Some(Err(ExportError::Report(error))) => return Err(error.into()),
        Some(Err(ExportError::Reader)) | None => return Err(Refusal::Internal),
    };
    let rest = stream::unfold((Some(first), pieces, turn), |(first, mut pieces, turn)| async {
        let piece = match first {
            Some(first) => Ok(first),
            None => pieces.recv().await?,
        };
        if let Err(error) = &piece {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, cause, "a file breaks off");
        }
        Some((piece, (None, pieces, turn)))
    });
    Ok(file(&name, Body::from_stream(rest)))
}

/// A file to keep.
pub(super) fn file(name: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    headers.insert(header::CONTENT_DISPOSITION, disposition.expect("a file's name has letters, digits, dots and dashes"));
    response
}
