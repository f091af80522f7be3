//! Products, tax classes, stores and pictures. Shapes in [`crate::web_api`].
//!
//! Lists come from the central read model; a single document, its edit and its history come from the region's own, which knows
//! them at once and without the centre.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use domain::document::DocumentKind;
use domain::ids::{PictureId, ProductId, TaxClassId};
use domain::money::{Currency, UnitPrice};
use domain::picture;
use domain::tax::TaxMode;
use serde::Deserialize;
use sync_proto::documents::{ChangeHash, DocumentValue};
use uuid::Uuid;

use super::WebState;
use super::accounts::Manager;
use super::answer::Refusal;
use super::api::bad_body;
use crate::central::catalogue::{self, ProductsQuestion};
use crate::region::{AuthorError, DocumentState, Editor, ProductPatch, Region, StorePatch, TaxClassPatch, TaxPatch};
use crate::web_api::{
    EditOutcome, FieldEdit, LiveEvent, PictureAnswer, ProductEdit, ProductRow, ProductView, ProductsPage, StoreEdit, StoreView,
    TaxClassEdit, TaxClassView,
};
use crate::words::Words;

mod export;

/// Largest edit: 32 barcodes, 48 lines and some names fit with room.
const EDIT_BYTES_MAX: usize = 64 * 1024;
/// Most rows of a page of products.
const LIMIT_MAX: i64 = 500;
/// Rows of a page when nobody says how many.
const LIMIT: i64 = 50;
/// Longest search, in bytes.
const SEARCH_BYTES_MAX: usize = 256;
/// Most writings that a history shows.
const HISTORY_MAX: usize = 200;

pub(super) fn routes() -> Router<WebState> {
    Router::new()
        .route("/products", get(products).merge(post(create_product).layer(DefaultBodyLimit::max(EDIT_BYTES_MAX))))
        .route("/products/{id}", get(product).patch(edit_product).layer(DefaultBodyLimit::max(EDIT_BYTES_MAX)))
        .route("/products/{id}/picture", put(put_picture).delete(delete_picture).layer(DefaultBodyLimit::max(picture::BYTES_MAX)))
        .route("/pictures/{id}", get(one_picture))
        .route("/tax-classes", get(tax_classes).post(create_tax_class))
        .route("/tax-classes/{id}", axum::routing::patch(edit_tax_class))
        .route("/stores", get(stores))
        .route("/stores/{code}", get(store).patch(edit_store).layer(DefaultBodyLimit::max(EDIT_BYTES_MAX)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductsQuery {
    search: Option<String>,
    category: Option<String>,
    active: Option<bool>,
    after: Option<String>,
    limit: Option<i64>,
    format: Option<String>,
}

async fn products(
    State(state): State<WebState>,
    query: Result<Query<ProductsQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) =
        query.map_err(|_| Refusal::BadRequest("Ask with search=, category=, active=true or false, after= and limit=.".into()))?;
    match query.format.as_deref() {
        None | Some("json") => {}
        Some("csv") => return export::products(&state).await,
        Some(_) => return Err(Refusal::BadRequest("Ask for format=json or format=csv.".into())),
    }
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refusal::BadRequest(format!("Ask for 1 to {LIMIT_MAX} products at once.")));
    }
    if [&query.search, &query.category].into_iter().flatten().any(|text| text.len() > SEARCH_BYTES_MAX || text.contains('\0')) {
        return Err(Refusal::BadRequest(format!("A search has at most {SEARCH_BYTES_MAX} bytes.")));
    }
    let after = match &query.after {
        Some(after) => match catalogue::read_cursor(after).filter(|_| !after.contains('\0')) {
            Some(place) => Some(place),
            None => return Err(Refusal::BadRequest("Send as `after` what `next` of the page before said.".into())),
        },
        None => None,
    };
    let question = ProductsQuestion { search: query.search, category: query.category, active: query.active, after, limit };
    let page: ProductsPage = catalogue::products(&state.shared.central, &question).await?;
    Ok(Json(page).into_response())
}

async fn product(State(state): State<WebState>, Path(product): Path<String>) -> Result<Json<ProductView>, Refusal> {
    let product = id(&product)?;
    let view = state
        .catalogue()?
        .hub
        .with(move |region| {
            let found = region.state(DocumentKind::Product, *product.as_bytes())?;
            product_view(region, found.ok_or(AuthorError::NotFound("product"))?)
        })
        .await??;
    Ok(Json(view))
}

async fn create_product(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    body: Result<Json<ProductEdit>, JsonRejection>,
) -> Result<(StatusCode, Json<ProductView>), Refusal> {
    let Json(edit) = body.map_err(|e| bad_body(&e, EDIT_BYTES_MAX))?;
    let (patch, env, who) = (product_patch(edit)?, state.shared.env.clone(), editor(&manager));
    let made = state.catalogue()?.hub.with(move |region| {
        let made = region.create_product(patch, Some(&who), &*env)?;
        product_view(region, made)
    });
    let view = made.await??;
    told(&state, &manager, "product", &view.product.product);
    Ok((StatusCode::CREATED, Json(view)))
}

async fn edit_product(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(product): Path<String>,
    body: Result<Json<ProductEdit>, JsonRejection>,
) -> Result<Json<ProductView>, Refusal> {
    let Json(edit) = body.map_err(|e| bad_body(&e, EDIT_BYTES_MAX))?;
    let (product, seen) = (ProductId(id(&product)?), seen(edit.seen.as_deref())?);
    let (patch, env, who) = (product_patch(edit)?, state.shared.env.clone(), editor(&manager));
    let edited = state.catalogue()?.hub.with(move |region| {
        let edited = region.edit_product(product, seen.as_deref(), patch, Some(&who), &*env)?;
        product_view(region, edited)
    });
    let view = edited.await??;
    told(&state, &manager, "product", &view.product.product);
    Ok(Json(view))
}

async fn put_picture(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(product): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PictureAnswer>, Refusal> {
    let bytes = bytes(body, picture::BYTES_MAX)?;
    set_picture(&state, &manager, &product, Some(bytes.to_vec())).await
}

async fn delete_picture(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(product): Path<String>,
) -> Result<Json<PictureAnswer>, Refusal> {
    set_picture(&state, &manager, &product, None).await
}

async fn set_picture(
    state: &WebState,
    manager: &Manager,
    product: &str,
    bytes: Option<Vec<u8>>,
) -> Result<Json<PictureAnswer>, Refusal> {
    let (product, env, who) = (ProductId(id(product)?), state.shared.env.clone(), editor(manager));
    let set = state.catalogue()?.hub.with(move |region| {
        let edited = region.set_picture(product, bytes, Some(&who), &*env)?;
        product_view(region, edited)
    });
    let view = set.await??;
    told(state, manager, "product", &view.product.product);
    Ok(Json(PictureAnswer { picture: view.product.picture.clone(), view }))
}

/// A picture never changes, so a browser may keep it for ever.
async fn one_picture(State(state): State<WebState>, Path(picture): Path<String>) -> Result<Response, Refusal> {
    let picture = PictureId(id(&picture)?);
    let found = state.catalogue()?.hub.with(move |region| region.picture(picture)).await??;
    let found = found.ok_or(Refusal::NotFound)?;
    let mut response = Response::new(Body::from(found.bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(found.media_type.as_str()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    Ok(response)
}

async fn tax_classes(State(state): State<WebState>) -> Result<Json<Vec<TaxClassView>>, Refusal> {
    let counts = catalogue::products_by_tax_class(&state.shared.central).await?;
    let all = state.catalogue()?.hub.with(|region| region.all_of(DocumentKind::TaxClass)).await??;
    Ok(Json(all.into_iter().filter_map(|class| tax_class_view(class, &counts)).collect()))
}

async fn create_tax_class(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    body: Result<Json<TaxClassEdit>, JsonRejection>,
) -> Result<(StatusCode, Json<TaxClassView>), Refusal> {
    let Json(edit) = body.map_err(|e| bad_body(&e, EDIT_BYTES_MAX))?;
    let (patch, env, who) = (tax_class_patch(edit), state.shared.env.clone(), editor(&manager));
    let made = state.catalogue()?.hub.with(move |region| region.create_tax_class(patch, Some(&who), &*env)).await??;
    let view = tax_class_view(made, &BTreeMap::new()).ok_or(Refusal::Internal)?;
    told(&state, &manager, "tax_class", &view.tax_class);
    Ok((StatusCode::CREATED, Json(view)))
}

async fn edit_tax_class(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(class): Path<String>,
    body: Result<Json<TaxClassEdit>, JsonRejection>,
) -> Result<Json<TaxClassView>, Refusal> {
    let Json(edit) = body.map_err(|e| bad_body(&e, EDIT_BYTES_MAX))?;
    let (class, seen) = (TaxClassId(id(&class)?), seen(edit.seen.as_deref())?);
    let (patch, env, who) = (tax_class_patch(edit), state.shared.env.clone(), editor(&manager));
    let edited =
        state.catalogue()?.hub.with(move |region| region.edit_tax_class(class, seen.as_deref(), patch, Some(&who), &*env));
    let edited = edited.await??;
    // The edit is kept whether or not the centre answers how many products it concerns.
    let counts = catalogue::products_by_tax_class(&state.shared.central).await.unwrap_or_default();
    let view = tax_class_view(edited, &counts).ok_or(Refusal::Internal)?;
    told(&state, &manager, "tax_class", &view.tax_class);
    Ok(Json(view))
}

async fn stores(State(state): State<WebState>) -> Result<Json<Vec<StoreView>>, Refusal> {
    let all = state.catalogue()?.hub.with(|region| {
        let all = region.all_of(DocumentKind::Store)?;
        all.into_iter().map(|store| store_view(region, DocumentState { history: Vec::new(), ..store })).collect()
    });
    let all: Result<_, AuthorError> = all.await?;
    Ok(Json(all?))
}

async fn store(State(state): State<WebState>, Path(code): Path<String>) -> Result<Json<StoreView>, Refusal> {
    let view = state
        .catalogue()?
        .hub
        .with(move |region| {
            let found = region.store_state(&code)?;
            store_view(region, found.ok_or(AuthorError::NotFound("store"))?)
        })
        .await??;
    Ok(Json(view))
}

async fn edit_store(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(code): Path<String>,
    body: Result<Json<StoreEdit>, JsonRejection>,
) -> Result<Json<StoreView>, Refusal> {
    let Json(edit) = body.map_err(|e| bad_body(&e, EDIT_BYTES_MAX))?;
    let seen = seen(edit.seen.as_deref())?;
    let (patch, env, who) = (store_patch(edit)?, state.shared.env.clone(), editor(&manager));
    let edited = state.catalogue()?.hub.with(move |region| {
        let edited = region.edit_store(&code, seen.as_deref(), patch, Some(&who), &*env)?;
        store_view(region, edited)
    });
    let view = edited.await??;
    told(&state, &manager, "store", &view.store);
    Ok(Json(view))
}

/// Notes an edit in the log and tells those who watch.
fn told(state: &WebState, manager: &Manager, kind: &str, id: &str) {
    tracing::info!(manager = manager.name, kind, id, "edited");
    state.live().send(LiveEvent::Document { kind: kind.to_owned(), id: Some(id.to_owned()) });
}

async fn currency(state: &WebState) -> Result<Option<Currency>, Refusal> {
    Ok(state.catalogue()?.hub.with(|region| region.currency()).await??)
}

pub(super) fn editor(manager: &Manager) -> Editor {
    Editor { id: manager.id.into_bytes(), name: manager.name.clone() }
}

/// An id in a path.
pub(super) fn id(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound)
}

/// The bytes of a body within its bound.
pub(super) fn bytes(body: Result<Bytes, BytesRejection>, most: usize) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge(format!("This has more than {} KiB: make it smaller.", most / 1_024)),
        _ => Refusal::BadRequest("The request broke off. Send it again.".into()),
    })
}

/// The state that an editor saw: the hashes of its newest changes, in hexadecimal.
fn seen(text: Option<&str>) -> Result<Option<Vec<ChangeHash>>, Refusal> {
    /// Newest changes of one state; more were never written at once by hand.
    const HEADS_MAX: usize = 64;
    let Some(text) = text else { return Ok(None) };
    let wrong = || Refusal::BadRequest("Send as `seen` what the answer with the document said.".into());
    if text.is_empty() || text.len() % 64 != 0 || text.len() > HEADS_MAX * 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digit).collect();
    let bytes = bytes.ok_or_else(wrong)?;
    let (hashes, _) = bytes.as_chunks::<32>();
    Ok(Some(hashes.to_vec()))
}

fn seen_text(heads: &[ChangeHash]) -> String {
    heads.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
}

fn product_patch(edit: ProductEdit) -> Result<ProductPatch, Refusal> {
    let tax = match (edit.tax_class, edit.tax_rate_bp) {
        (Some(_), Some(_)) => {
            return Err(Refusal::BadRequest("A product has a tax class or a rate of its own: send one of the two.".into()));
        }
        (Some(class), None) => {
            let class = class.parse().map_err(|_| Refusal::BadRequest("There is no such tax class.".into()))?;
            Some(TaxPatch::Class(TaxClassId(class)))
        }
        (None, rate) => rate.map(TaxPatch::Rate),
    };
    Ok(ProductPatch {
        code: edit.code,
        name: edit.name,
        barcodes: edit.barcodes,
        category: edit.category,
        price: edit.price_centi.map(UnitPrice),
        tax,
        picture: None,
        active: edit.active,
    })
}

fn tax_class_patch(edit: TaxClassEdit) -> TaxClassPatch {
    TaxClassPatch { name: edit.name, rate_bp: edit.rate_bp, active: edit.active }
}

fn store_patch(edit: StoreEdit) -> Result<StorePatch, Refusal> {
    let currency = match edit.currency {
        Some(code) => {
            let currency = Currency::new(&code);
            Some(currency.ok_or_else(|| Refusal::BadRequest("A currency is three capital letters, such as EUR.".into()))?)
        }
        None => None,
    };
    let tax_mode = match edit.tax_mode.as_deref() {
        None => None,
        Some("inclusive") => Some(TaxMode::Inclusive),
        Some("exclusive") => Some(TaxMode::Exclusive),
        Some(_) => return Err(Refusal::BadRequest("A tax mode is inclusive or exclusive.".into())),
    };
    Ok(StorePatch {
        name: edit.name,
        address: edit.address,
        receipt_header: edit.receipt_header,
        receipt_footer: edit.receipt_footer,
        currency,
        tax_mode,
        languages: edit.languages,
        time_zone: edit.time_zone,
    })
}

fn product_view(region: &Region, state: DocumentState) -> Result<ProductView, AuthorError> {
    let DocumentValue::Product(p) = &state.value else { return Err(AuthorError::NotFound("product")) };
    let class = p.tax_class.map(|class| region.tax_class(class)).transpose()?.flatten();
    let row = ProductRow {
        product: p.id.to_string(),
        code: p.code.clone(),
        name: p.name.clone(),
        barcodes: p.barcodes.clone(),
        category: p.category.clone(),
        price_centi: p.price.0,
        tax_class: p.tax_class.map(|id| id.to_string()),
        tax_rate_bp: class.map_or(p.tax_rate_bp, |class| class.rate_bp).into(),
        picture: p.picture.map(|id| id.to_string()),
        active: p.active,
    };
    Ok(ProductView { product: row, seen: seen_text(&state.seen), history: history(region, &state)? })
}

fn tax_class_view(state: DocumentState, products: &BTreeMap<Uuid, i64>) -> Option<TaxClassView> {
    let DocumentValue::TaxClass(class) = state.value else { return None };
    Some(TaxClassView {
        tax_class: class.id.to_string(),
        name: class.name,
        rate_bp: class.rate_bp.into(),
        active: class.active,
        products: products.get(&class.id.0).copied().unwrap_or(0),
        seen: seen_text(&state.seen),
    })
}

fn store_view(region: &Region, state: DocumentState) -> Result<StoreView, AuthorError> {
    let DocumentValue::Store(s) = &state.value else { return Err(AuthorError::NotFound("store")) };
    Ok(StoreView {
        store: s.id.to_string(),
        code: s.code.clone(),
        name: s.name.clone(),
        address: s.address.clone(),
        receipt_header: s.receipt_header.clone(),
        receipt_footer: s.footer_lines(),
        currency: s.currency.code().to_owned(),
        tax_mode: if s.tax_mode == TaxMode::Exclusive { "exclusive" } else { "inclusive" }.to_owned(),
        languages: s.languages.clone(),
        time_zone: s.time_zone.clone(),
        seen: seen_text(&state.seen),
        history: history(region, &state)?,
    })
}

/// Who wrote what, newest first.
fn history(region: &Region, state: &DocumentState) -> Result<Vec<FieldEdit>, AuthorError> {
    use sync_proto::documents::{FieldValue, Outcome};
    if state.history.is_empty() {
        return Ok(Vec::new());
    }
    let names = region.author_names()?;
    let class = |id| region.tax_class(TaxClassId(Uuid::from_bytes(id))).ok().flatten().map(|class| class.name);
    let words = Words { currency: region.currency()?, tax_class: &class };
    let kind = state.value.kind();
    let edits = state.history.iter().rev().take(HISTORY_MAX).map(|w| FieldEdit {
        field: Words::field(&w.field).to_owned(),
        old: w.replaced.as_ref().filter(|old| **old != FieldValue::None).map(|old| words.value(kind, &w.field, old)),
        new: words.value(kind, &w.field, &w.value),
        by: names.get(&w.author).cloned().unwrap_or_else(|| Uuid::from_bytes(w.author).to_string()),
        at_ms: w.at.unix_ms(),
        outcome: match w.outcome {
            Outcome::Current => EditOutcome::Current,
            Outcome::Replaced => EditOutcome::Replaced,
            Outcome::Outvoted => EditOutcome::Outvoted,
        },
    });
    Ok(edits.collect())
}
