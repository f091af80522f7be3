//! What became of closed shifts: on the screen, and as paper.

use domain::ids::{OrderId, ShiftId};
use domain::receipt::{format_amount, receipt_number};
use domain::shift::{Addendum, ShiftSum, addenda};
use domain::staff::Permission;
use hardware::Ticket;
use sha2::{Digest, Sha256};

use super::{NewJob, Till};
use crate::api::{AddendumView, ApiError, ApiErrorCode as Code, ClosedShiftView, ShiftView};
use crate::store::shifts::{self, Closed, ShiftRow};
use crate::store::{StoreError, log, paper};
use crate::ticket::{self, ShiftPaper};

/// A closed shift: what its closing covers, and what came besides.
struct Report<'a> {
    row: &'a ShiftRow,
    closed: &'a Closed,
    z: ShiftSum,
    addenda: Vec<Addendum>,
}

impl Report<'_> {
    /// Counted less expected, with what the addenda moved.
    fn difference_minor(&self) -> i64 {
        let moved: i64 = self.addenda.iter().map(|addendum| addendum.sum.cash_minor).sum();
        self.closed.counted_minor - self.closed.expected_minor - moved
    }
}

impl Till {
    pub(super) fn closed_shifts(&self, limit: usize) -> Result<Vec<ClosedShiftView>, ApiError> {
        let rows = shifts::closed(self.db()?, limit)?;
        rows.iter().filter_map(|row| self.closed_shift_view(row).transpose()).collect()
    }

    pub(super) fn closed_shift_view(&self, row: &ShiftRow) -> Result<Option<ClosedShiftView>, ApiError> {
        let Some(report) = self.shift_report(row)? else { return Ok(None) };
        let z = report.z;
        let addendum = |addendum: &Addendum| {
            Ok(AddendumView {
                number: addendum.number,
                first_receipt: self.receipt_number_of(addendum, addendum.receipts.0)?,
                last_receipt: self.receipt_number_of(addendum, addendum.receipts.1)?,
                sales: addendum.sum.sales.unsigned_abs(),
                refunds: addendum.sum.refunds.unsigned_abs(),
                sales_minor: addendum.sum.sales_minor,
                refunds_minor: -addendum.sum.refunds_minor,
                cash_minor: addendum.sum.cash_minor,
            })
        };
        Ok(Some(ClosedShiftView {
            shift: ShiftView {
                id: row.id,
                business_day: row.business_day.to_date().map(|day| day.to_string()).unwrap_or_default(),
                opened_at_ms: row.opened_ms,
                float_minor: row.float_minor,
                expected_minor: report.closed.expected_minor,
                sales: z.sales.unsigned_abs(),
                refunds: z.refunds.unsigned_abs(),
                sales_minor: z.sales_minor,
                refunds_minor: -z.refunds_minor,
            },
            till: self.device_name(row.device)?,
            title: self.z_title(row, report.closed),
            closed_at_ms: report.closed.at_ms,
            counted_minor: report.closed.counted_minor,
            difference_minor: report.closed.counted_minor - report.closed.expected_minor,
            addenda: report.addenda.iter().map(addendum).collect::<Result<_, StoreError>>()?,
            difference_with_addenda_minor: report.difference_minor(),
        }))
    }

    fn shift_report<'a>(&self, row: &'a ShiftRow) -> Result<Option<Report<'a>>, StoreError> {
        let Some(closed) = &row.closed else { return Ok(None) };
        let db = self.db()?;
        let parts = self.from_disk.sums.shift_parts(db, row.id)?;
        let mut z = ShiftSum::default();
        parts.iter().for_each(|part| z += part.sum);
        let late = match &closed.cut {
            Some(cut) => shifts::late(db, &self.scope, row.id, cut, &parts)?,
            None => Vec::new(),
        };
        late.iter().for_each(|one| z -= one.sum);
        Ok(Some(Report { row, closed, z, addenda: addenda(late) }))
    }

    /// What the closing of a shift is called on paper.
    fn z_title(&self, row: &ShiftRow, closed: &Closed) -> String {
        format!("Z {} {}", row.series, self.local_time(closed.at_ms))
    }

    fn receipt_number_of(&self, addendum: &Addendum, number: u64) -> Result<String, StoreError> {
        let (device, incarnation) = addendum.life;
        let db = self.db()?;
        let series = match log::find_origin(db, journal::Origin { device, incarnation })? {
            Some(row) => shifts::series_of(db, row)?,
            None => String::new(),
        };
        Ok(receipt_number(&series, number))
    }

    /// Prints the closing of a shift, or one of its addenda. What was on paper before with the same words is a copy.
    pub(super) fn print_shift(&mut self, shift: ShiftId, addendum: Option<u32>) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        if !self.options.printing {
            return Err(ApiError::new(
                Code::BadRequest,
                "no printer is set up on this till: print it at another one, or have one set up",
            ));
        }
        let unknown =
            || ApiError::new(Code::BadRequest, "this till does not know that shift or addendum as closed: look it up again");
        let row = shifts::shift(self.db()?, shift)?.ok_or_else(unknown)?;
        let report = self.shift_report(&row)?.ok_or_else(unknown)?;
        let (title, ticket) = self.shift_ticket(&report, addendum)?.ok_or_else(unknown)?;
        let document = serde_json::to_string(&ticket).expect("a ticket is JSON");
        let subject = subject_of(&document);
        match paper::newest_job_of(self.db()?, subject)? {
            Some(_) => self.queue_copy_of_paper(subject, None),
            None => self.queue_paper(&NewJob { id: self.new_record_id(), order: subject, copy_no: 0, title, document }, None),
        }
    }

    fn shift_ticket(&self, report: &Report<'_>, number: Option<u32>) -> Result<Option<(String, Ticket)>, ApiError> {
        let (store, z) = (self.store()?, self.z_title(report.row, report.closed));
        let amount = |minor| format_amount(minor, store.currency);
        let sums = |sum: ShiftSum| {
            vec![
                [format!("Sales ({})", sum.sales), amount(sum.sales_minor)],
                [format!("Refunds ({})", sum.refunds), amount(sum.refunds_minor)],
            ]
        };
        let mut paper = ShiftPaper {
            header: store.receipt_header.clone(),
            store_name: store.name.clone(),
            till: self.device_name(report.row.device)?,
            business_day: report.row.business_day.to_date().map(|day| day.to_string()).unwrap_or_default(),
            ..ShiftPaper::default()
        };
        let Some(number) = number else {
            let Closed { counted_minor, expected_minor, .. } = *report.closed;
            paper.heading = "Z REPORT".to_owned();
            paper.title.clone_from(&z);
            paper.rows = sums(report.z);
            paper.rows.push(["Float".to_owned(), amount(report.row.float_minor)]);
            paper.rows.push(["Cash expected".to_owned(), amount(expected_minor)]);
            paper.rows.push(["Cash counted".to_owned(), amount(counted_minor)]);
            paper.total = ["DIFFERENCE".to_owned(), amount(counted_minor - expected_minor)];
            return Ok(Some((z, ticket::shift(&paper))));
        };
        let Some(addendum) = report.addenda.iter().find(|addendum| addendum.number == number) else { return Ok(None) };
        paper.heading = format!("ADDENDUM {number}");
        paper.title = format!("to {z}");
        let (first, last) = addendum.receipts;
        paper.notes = vec![
            "Sold in this shift, and not in its Z report:".to_owned(),
            format!("{} to {}", self.receipt_number_of(addendum, first)?, self.receipt_number_of(addendum, last)?),
        ];
        paper.rows = sums(addendum.sum);
        paper.rows.push(["Into the drawer".to_owned(), amount(addendum.sum.cash_minor)]);
        paper.total = ["DIFFERENCE NOW".to_owned(), amount(report.difference_minor())];
        Ok(Some((format!("{z} addendum {number}"), ticket::shift(&paper))))
    }

    /// Queues the next copy of a paper that is no receipt, in place of job `instead_of` if there is one.
    pub(super) fn queue_copy_of_paper(&mut self, subject: OrderId, instead_of: Option<i64>) -> Result<(), ApiError> {
        let lost = || {
            ApiError::new(
                Code::NoSuchPrintJob,
                "this till does not have that paper any more: print it anew from the list of shifts",
            )
        };
        let first = paper::job_of(self.db()?, subject, 0)?.ok_or_else(lost)?;
        let newest = paper::newest_job_of(self.db()?, subject)?.map_or(0, |job| job.copy_no);
        let ticket = serde_json::from_str(&paper::document(self.db()?, first.n)?);
        let mut ticket: Ticket = ticket.map_err(|_| StoreError::Damaged("a print document"))?;
        ticket::mark_copy(&mut ticket, newest + 1);
        let document = serde_json::to_string(&ticket).expect("a ticket is JSON");
        let job = NewJob { id: self.new_record_id(), order: subject, copy_no: newest + 1, title: first.title, document };
        self.queue_paper(&job, instead_of)
    }
}

/// What the jobs of one paper have in common: its words.
fn subject_of(document: &str) -> OrderId {
    let digest: [u8; 32] = Sha256::digest(document).into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    OrderId(uuid::Builder::from_custom_bytes(id).into_uuid())
}
