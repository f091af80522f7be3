//! Why something was not done: a code for programs, a sentence for people.

use serde::{Deserialize, Serialize};

use crate::errors::chain_of;
use crate::store::StoreError;

/// Why something was not done: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[error("{message}")]
pub struct ApiError {
    /// The stable code.
    pub code: ApiErrorCode,
    /// One sentence in English that says what to do; the screen may translate by code.
    pub message: String,
    /// How long to wait before trying again, in milliseconds, where that helps.
    pub retry_after_ms: Option<u64>,
}

/// The stable codes. Never renamed, only added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ApiErrorCode {
    /// The request makes no sense: unknown command, missing field, text too long.
    BadRequest,
    /// No or a wrong access token.
    NotAuthorised,
    /// No one is signed in.
    NotSignedIn,
    /// The PIN is wrong.
    WrongPin,
    /// Too many wrong PINs; wait.
    PinLocked,
    /// The role may not do this.
    Forbidden,
    /// The till has not received its store's settings yet.
    NotReady,
    /// No shift is open.
    NoShift,
    /// A shift is open already.
    ShiftOpen,
    /// The code belongs to no product.
    UnknownCode,
    /// The product is not on sale.
    InactiveProduct,
    /// The cart is empty.
    CartEmpty,
    /// The cart must be empty for this.
    CartNotEmpty,
    /// The cart is full.
    CartFull,
    /// There is no such line.
    NoSuchLine,
    /// A quantity must be above zero and within its bound.
    BadQuantity,
    /// An amount is out of bounds.
    BadAmount,
    /// Less was handed over than is owed.
    TenderShort,
    /// The order named is not the cart's any more.
    StaleOrder,
    /// There is no such order here.
    NoSuchOrder,
    /// More than is left to refund.
    NothingToRefund,
    /// There is no such print job, or it needs no answer.
    NoSuchPrintJob,
    /// The disk is full or broken; nothing was recorded.
    Storage,
    /// The sale is not kept on this till any more, or has not arrived yet, and the server has not told of it.
    NotKept,
    /// It is not known whether it was recorded; the till looks it up before going on.
    InDoubt,
}

impl ApiError {
    /// A refusal with nothing to wait for.
    pub fn new(code: ApiErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

impl From<StoreError> for ApiError {
    /// The screen learns whether it was recorded; the log learns why not.
    fn from(error: StoreError) -> Self {
        let (code, message) = match &error {
            StoreError::TooLarge(_) => (ApiErrorCode::CartFull, "this is too much for one order: split it in two"),
            StoreError::InDoubt => (
                ApiErrorCode::InDoubt,
                "the disk failed and it is not known yet whether this was recorded: try again, and the till looks it up",
            ),
            StoreError::PutAside => (
                ApiErrorCode::Storage,
                "the data of this till was damaged, and nothing was recorded: the till begins anew with what can still be read, sign in again",
            ),
            _ => (
                ApiErrorCode::Storage,
                "the disk of this till is full or broken and nothing was recorded: make room or call for help",
            ),
        };
        tracing::error!(error = %chain_of(&error), "the store failed");
        Self::new(code, message)
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}
