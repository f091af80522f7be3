//! Products from a file.

use serde::{Deserialize, Serialize};

/// `POST /api/v1/imports?name=FILE` (the body is the file, `text/csv`, at most 64 MiB) begins an import: the file is read and compared, and
/// nothing is written until `POST /api/v1/imports/{id}/apply`. `POST …/undo` takes back what it wrote. `GET /api/v1/imports` and
/// `GET /api/v1/imports/{id}` answer how it stands; `DELETE` forgets one that was not applied, or stops reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ImportView {
    /// Its id.
    pub id: String,
    /// The file's name.
    pub name: String,
    /// Who brought it.
    pub by: String,
    /// When.
    pub at_ms: u64,
    /// How it stands.
    pub state: ImportState,
    /// Rows done in this step.
    pub done: u64,
    /// Rows of the file, the header not counted; 0 until it is read.
    pub rows: u64,
    /// Products that the file adds.
    pub added: u64,
    /// Products that it changes.
    pub changed: u64,
    /// Products that are there just so.
    pub unchanged: u64,
    /// Rows that are not as they should be: they keep the file from being applied.
    pub wrong: u64,
    /// The first 500 of what is wrong, by row.
    pub problems: Vec<ImportProblem>,
    /// The first 200 of what it adds or changes, by row.
    pub changes: Vec<ImportChange>,
    /// Whether it wrote what can be taken back, or the rest of it: it was applied, or it broke on the way.
    pub can_be_undone: bool,
    /// After an undo: fields that stay, because somebody else has written them since or another product has the barcode now.
    pub kept: u64,
    /// One sentence that says how it stands and what to do.
    pub message: String,
}

/// How an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// The file is being read and compared.
    Reading,
    /// Read; nothing is written yet.
    Ready,
    /// Some rows are not as they should be; nothing is written.
    Refused,
    /// It is being written.
    Applying,
    /// It is written.
    Applied,
    /// It is being taken back.
    Undoing,
    /// It has been taken back.
    Undone,
    /// Something broke; the sentence says what, and what is written.
    Failed,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ImportProblem {
    /// The row, from 1, the header included, as a spreadsheet shows it.
    pub row: u64,
    /// The column; empty when it is the whole row.
    pub column: String,
    /// What it says, cut to 200 characters.
    pub value: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a row does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ImportChange {
    /// The row.
    pub row: u64,
    /// The product's code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Whether the product is new.
    pub added: bool,
    /// What changes; all fields of a new one.
    pub fields: Vec<FieldChange>,
}

/// One field that a row changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// What it says now, in words; none when there is nothing.
    pub old: Option<String>,
    /// What it will say.
    pub new: String,
}

#[cfg(test)]
super::declare!(ImportView, ImportState, ImportProblem, ImportChange, FieldChange,);
