//! Rows into tables, a statement a table.

use std::collections::BTreeMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::facts::Rows;
use super::orders;
use crate::central::CentralError;
use crate::central::exceptions::ExceptionKind;

/// Writes all rows. Keys were claimed before, so nothing of a record is there yet.
pub(super) async fn write(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    shifts(tx, rows).await?;
    // After the shifts, whose days they have.
    orders::write(tx, &rows.orders).await?;
    refunds(tx, rows).await?;
    stock(tx, rows).await?;
    accounts(tx, rows).await?;
    devices(tx, rows).await?;
    documents(tx, rows).await?;
    open_orders(tx, rows).await?;
    counts_and_flags(tx, rows).await
}

fn column<R, T>(rows: impl IntoIterator<Item = R>, of: impl Fn(R) -> T) -> Vec<T> {
    rows.into_iter().map(of).collect()
}

/// A column of a table's rows.
macro_rules! col {
    ($rows:expr, $field:ident) => {
        column($rows, |r| &r.$field)
    };
}

async fn run(tx: &Transaction<'_>, sql: &str, columns: &[&(dyn ToSql + Sync)]) -> Result<u64, CentralError> {
    Ok(tx.execute(sql, columns).await?)
}

async fn shifts(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.openings;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO shifts (store_id, shift_id, device_id, business_day, opened_at_ms, opened_by, float_minor, currency)
             SELECT s, i, d, date '1970-01-01' + day, at, staff, float, currency
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::uuid[], $7::bigint[], $8::text[])
                 AS r (s, i, d, day, at, staff, float, currency)
             ON CONFLICT (store_id, shift_id) DO UPDATE SET
                 device_id = excluded.device_id, business_day = excluded.business_day, opened_at_ms = excluded.opened_at_ms,
                 opened_by = excluded.opened_by, float_minor = excluded.float_minor, currency = excluded.currency",
            &[
                &col!(r, store),
                &col!(r, shift),
                &col!(r, device),
                &col!(r, day),
                &col!(r, at_ms),
                &col!(r, staff),
                &col!(r, float_minor),
                &col!(r, currency),
            ],
        )
        .await?;
        // Orders that arrived before the opening of their shift.
        run(
            tx,
            "UPDATE orders AS o SET business_day = s.business_day
             FROM unnest($1::uuid[], $2::uuid[]) AS r (store_id, shift_id) JOIN shifts AS s USING (store_id, shift_id)
             WHERE o.store_id = r.store_id AND o.shift_id = r.shift_id AND o.business_day IS NULL",
            &[&col!(r, store), &col!(r, shift)],
        )
        .await?;
    }
    let r = &rows.closings;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO shifts (store_id, shift_id, device_id, closed_at_ms, closed_by, counted_minor, expected_minor, cut_commit,
                 cut)
             SELECT DISTINCT ON (store, shift) *
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::bigint[], $7::bigint[], $8::bigint[],
                     $9::bytea[])
                 AS r (store, shift, device, at_ms, staff, counted, expected, cut_commit, cut)
             ORDER BY store, shift, at_ms DESC, counted DESC, expected DESC, COALESCE(cut, '') DESC
             ON CONFLICT (store_id, shift_id) DO UPDATE SET
                 closed_at_ms = excluded.closed_at_ms, closed_by = excluded.closed_by, counted_minor = excluded.counted_minor,
                 expected_minor = excluded.expected_minor, cut_commit = excluded.cut_commit, cut = excluded.cut
             WHERE shifts.closed_at_ms IS NULL
                OR (excluded.closed_at_ms, excluded.counted_minor, excluded.expected_minor, COALESCE(excluded.cut, ''))
                   > (shifts.closed_at_ms, shifts.counted_minor, shifts.expected_minor, COALESCE(shifts.cut, ''))",
            &[
                &col!(r, store), &col!(r, shift), &col!(r, device), &col!(r, at_ms), &col!(r, staff), &col!(r, counted_minor),
                &col!(r, expected_minor), &col!(r, cut_commit), &col!(r, cut),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn refunds(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.refunds;
    if r.is_empty() {
        return Ok(());
    }
    run(
        tx,
        "INSERT INTO refunds (store_id, order_id, line, original_id, original_line, product_id, quantity_milli, amount_minor)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[], $8::bigint[])",
        &[
            &col!(r, store), &col!(r, order), &col!(r, line), &col!(r, original), &col!(r, original_line), &col!(r, product),
            &col!(r, quantity_milli), &col!(r, amount_minor),
        ],
    )
    .await?;
    Ok(())
}

async fn stock(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.adjustments;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO stock_adjustments (store_id, record_id, line, product_id, quantity_milli, reason, at_ms, unit_price_centi,
                 amount_minor, device_id, shift_id, staff_id, note, reference, counted_milli, central_seq)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[],
                 $9::bigint[], $10::uuid[], $11::uuid[], $12::uuid[], $13::text[], $14::text[], $15::bigint[], $16::bigint[])",
            &[
                &col!(r, store), &col!(r, record), &col!(r, line), &col!(r, product), &col!(r, quantity_milli), &col!(r, reason),
                &col!(r, at_ms), &col!(r, unit_price_centi), &col!(r, amount_minor), &col!(r, device), &col!(r, shift),
                &col!(r, staff), &col!(r, note), &col!(r, reference), &col!(r, counted_milli), &col!(r, central_seq),
            ],
        )
        .await?;
    }
    let (keys, changes) = (rows.levels.keys(), rows.levels.values());
    if !rows.levels.is_empty() {
        run(
            tx,
            "INSERT INTO stock_levels AS l (store_id, product_id, quantity_milli, tracked, moved_at_ms)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::boolean[], $5::bigint[])
             ON CONFLICT (store_id, product_id) DO UPDATE SET quantity_milli = l.quantity_milli + excluded.quantity_milli,
                 tracked = l.tracked OR excluded.tracked, moved_at_ms = GREATEST(l.moved_at_ms, excluded.moved_at_ms)",
            &[
                &column(keys.clone(), |k| k.0),
                &column(keys.clone(), |k| k.1),
                &column(changes.clone(), |c| c.milli),
                &column(keys, |k| rows.tracked.contains(k)),
                &column(changes, |c| c.at_ms),
            ],
        )
        .await?;
    }
    counts(tx, rows).await
}

async fn counts(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.counts;
    if r.is_empty() {
        return Ok(());
    }
    run(
        tx,
        "INSERT INTO stock_counts (store_id, product_id, record_id, stands, central_seq)
         SELECT s, p, r, false, e FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS w (s, p, r, e)",
        &[&col!(r, store), &col!(r, product), &col!(r, record), &col!(r, central_seq)],
    )
    .await?;
    let keys = rows.standing.keys();
    run(
        tx,
        "UPDATE stock_counts AS c SET stands = (c.record_id = w.record_id)
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (store_id, product_id, record_id)
         WHERE c.store_id = w.store_id AND c.product_id = w.product_id AND c.stands <> (c.record_id = w.record_id)",
        &[&column(keys.clone(), |k| k.0), &column(keys, |k| k.1), &column(rows.standing.values(), |id| *id)],
    )
    .await?;
    Ok(())
}

async fn accounts(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.accounts;
    if r.is_empty() {
        return Ok(());
    }
    run(
        tx,
        "INSERT INTO account_adjustments (store_id, record_id, line, device_id, shift_id, staff_id, at_ms, description, quantity_milli,
             unit_price_centi, amount_minor, reference)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::text[])",
        &[
            &col!(r, store), &col!(r, record), &col!(r, line), &col!(r, device), &col!(r, shift), &col!(r, staff), &col!(r, at_ms),
            &col!(r, description), &col!(r, quantity_milli), &col!(r, unit_price_centi), &col!(r, amount_minor), &col!(r, reference),
        ],
    )
    .await?;
    Ok(())
}

/// The last of rows that share a key: one statement cannot write a row twice, and the later record holds.
fn latest<K: Ord, R>(rows: &[R], key: impl Fn(&R) -> K) -> Vec<&R> {
    let by_key: BTreeMap<K, &R> = rows.iter().map(|r| (key(r), r)).collect();
    by_key.into_values().collect()
}

async fn devices(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &latest(&rows.devices, |d| d.device);
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO devices (device_id, store_id, kind, name, number, public_key, enrolled_at_ms)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::bigint[])
             ON CONFLICT (device_id) DO UPDATE SET store_id = excluded.store_id, kind = excluded.kind, name = excluded.name,
                 number = excluded.number, public_key = excluded.public_key, enrolled_at_ms = excluded.enrolled_at_ms",
            &[
                &col!(r, device),
                &col!(r, store),
                &col!(r, kind),
                &col!(r, name),
                &col!(r, number),
                &col!(r, public_key),
                &col!(r, at_ms),
            ],
        )
        .await?;
    }
    let r = &latest(&rows.starts, |s| (s.device, s.incarnation));
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO incarnations (device_id, incarnation, series, software, last_start_ms)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
             ON CONFLICT (device_id, incarnation) DO UPDATE SET series = excluded.series, software = excluded.software,
                 last_start_ms = excluded.last_start_ms",
            &[&col!(r, device), &col!(r, incarnation), &col!(r, series), &col!(r, software), &col!(r, at_ms)],
        )
        .await?;
    }
    Ok(())
}

async fn documents(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.documents;
    if r.is_empty() {
        return Ok(());
    }
    run(
        tx,
        "INSERT INTO documents (id, kind, saved) SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bytea[])
         ON CONFLICT (id) DO UPDATE SET saved = excluded.saved",
        &[&col!(r, id), &col!(r, kind), &col!(r, saved)],
    )
    .await?;
    let r = &rows.products;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO products (product_id, code, name, barcodes, price_centi, tax_rate_bp, active, category, tax_class, picture, search)
             SELECT id, code, name, ARRAY(SELECT jsonb_array_elements_text(barcodes)), price, rate, active, category, tax_class, picture,
                 array_to_tsvector(ARRAY(SELECT jsonb_array_elements_text(search)))
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[],
                 $9::uuid[], $10::uuid[], $11::jsonb[])
                 AS r (id, code, name, barcodes, price, rate, active, category, tax_class, picture, search)
             ON CONFLICT (product_id) DO UPDATE SET code = excluded.code, name = excluded.name, barcodes = excluded.barcodes,
                 price_centi = excluded.price_centi, tax_rate_bp = excluded.tax_rate_bp, active = excluded.active,
                 category = excluded.category, tax_class = excluded.tax_class, picture = excluded.picture, search = excluded.search",
            &[
                &col!(r, id),
                &col!(r, code),
                &col!(r, name),
                &column(r, |p| serde_json::Value::from(p.barcodes.clone())),
                &col!(r, price_centi),
                &col!(r, tax_rate_bp),
                &col!(r, active),
                &col!(r, category),
                &col!(r, tax_class),
                &col!(r, picture),
                &column(r, |p| serde_json::Value::from(p.search.clone())),
            ],
        )
        .await?;
    }
    let r = &rows.stores;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO stores (store_id, code, name, address, currency, tax_mode, receipt_footer, receipt_header, languages, time_zone)
             SELECT id, code, name, ARRAY(SELECT jsonb_array_elements_text(address)), currency, mode, footer,
                 ARRAY(SELECT jsonb_array_elements_text(header)), ARRAY(SELECT jsonb_array_elements_text(languages)), zone
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::jsonb[],
                 $10::text[])
                 AS r (id, code, name, address, currency, mode, footer, header, languages, zone)
             ON CONFLICT (store_id) DO UPDATE SET code = excluded.code, name = excluded.name, address = excluded.address,
                 currency = excluded.currency, tax_mode = excluded.tax_mode, receipt_footer = excluded.receipt_footer,
                 receipt_header = excluded.receipt_header, languages = excluded.languages, time_zone = excluded.time_zone",
            &[
                &col!(r, id),
                &col!(r, code),
                &col!(r, name),
                &column(r, |s| serde_json::Value::from(s.address.clone())),
                &col!(r, currency),
                &col!(r, tax_mode),
                &col!(r, receipt_footer),
                &column(r, |s| serde_json::Value::from(s.receipt_header.clone())),
                &column(r, |s| serde_json::Value::from(s.languages.clone())),
                &col!(r, time_zone),
            ],
        )
        .await?;
    }
    let r = &rows.tax_classes;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO tax_classes (tax_class_id, name, rate_bp, active)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::boolean[])
             ON CONFLICT (tax_class_id) DO UPDATE SET name = excluded.name, rate_bp = excluded.rate_bp, active = excluded.active",
            &[&col!(r, id), &col!(r, name), &col!(r, rate_bp), &col!(r, active)],
        )
        .await?;
    }
    let r = &rows.staff;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO staff (store_id, staff_id, name, role, active)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::boolean[])
             ON CONFLICT (store_id, staff_id) DO UPDATE SET name = excluded.name, role = excluded.role, active = excluded.active",
            &[&col!(r, store), &col!(r, id), &col!(r, name), &col!(r, role), &col!(r, active)],
        )
        .await?;
    }
    Ok(())
}

async fn open_orders(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let r = &rows.actors;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO announced_actors (device, incarnation, actor) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])
             ON CONFLICT DO NOTHING",
            &[&col!(r, device), &col!(r, incarnation), &col!(r, actor)],
        )
        .await?;
    }
    let r = &rows.order_documents;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO open_order_documents (store_id, id, saved, flagged, settled, rest)
             SELECT s, i, saved, ARRAY(SELECT jsonb_array_elements_text(flagged)), ARRAY(SELECT jsonb_array_elements_text(settled)), rest
             FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::jsonb[], $5::jsonb[], $6::uuid[])
                 AS r (s, i, saved, flagged, settled, rest)
             ON CONFLICT (store_id, id) DO UPDATE SET saved = excluded.saved, flagged = excluded.flagged, settled = excluded.settled,
                 rest = excluded.rest",
            &[
                &col!(r, store),
                &col!(r, id),
                &col!(r, saved),
                &column(r, |d| serde_json::Value::from(d.flagged.clone())),
                &column(r, |d| serde_json::Value::from(d.settled.clone())),
                &col!(r, rest),
            ],
        )
        .await?;
    }
    let r = &rows.order_payments;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO open_order_payments (store_id, sale_id, open_order_id)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) ON CONFLICT DO NOTHING",
            &[&column(r, |p| p.0), &column(r, |p| p.1), &column(r, |p| p.2)],
        )
        .await?;
    }
    let r = &rows.open_orders;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO open_orders (store_id, open_order_id, label, note, status, lines, total_minor, opened_ms, opened_by, changed_ms,
                 changed_by)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::int[], $7::bigint[], $8::bigint[],
                 $9::uuid[], $10::bigint[], $11::uuid[])
             ON CONFLICT (store_id, open_order_id) DO UPDATE SET label = excluded.label, note = excluded.note, status = excluded.status,
                 lines = excluded.lines, total_minor = excluded.total_minor, opened_ms = excluded.opened_ms,
                 opened_by = excluded.opened_by, changed_ms = excluded.changed_ms, changed_by = excluded.changed_by",
            &[
                &col!(r, store), &col!(r, id), &col!(r, label), &col!(r, note), &col!(r, status), &col!(r, lines),
                &col!(r, total_minor), &col!(r, opened_ms), &col!(r, opened_by), &col!(r, changed_ms), &col!(r, changed_by),
            ],
        )
        .await?;
    }
    let r = &rows.waiting;
    if !r.is_empty() {
        run(
            tx,
            "INSERT INTO waiting_changes (central_seq, store_id, document, device, incarnation)
             SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[])",
            &[&col!(r, central_seq), &col!(r, store), &col!(r, document), &col!(r, device), &col!(r, incarnation)],
        )
        .await?;
    }
    if !rows.waited.is_empty() {
        run(tx, "DELETE FROM waiting_changes WHERE central_seq = ANY($1)", &[&rows.waited]).await?;
        // What was said of them while they waited.
        let said = "DELETE FROM exceptions WHERE central_seq = ANY($1) AND kind = $2";
        run(tx, said, &[&rows.waited, &ExceptionKind::OpenOrderRefused.as_str()]).await?;
    }
    Ok(())
}

async fn counts_and_flags(tx: &Transaction<'_>, rows: &Rows) -> Result<(), CentralError> {
    let keys = rows.progress.keys();
    if !rows.progress.is_empty() {
        run(
            tx,
            "INSERT INTO device_progress AS p (device_id, incarnation, commits, last_at_ms)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
             ON CONFLICT (device_id, incarnation) DO UPDATE SET commits = p.commits + excluded.commits,
                 last_at_ms = GREATEST(p.last_at_ms, excluded.last_at_ms)",
            &[
                &column(keys.clone(), |k| k.0),
                &column(keys, |k| k.1),
                &column(rows.progress.values(), |p| p.0),
                &column(rows.progress.values(), |p| p.1),
            ],
        )
        .await?;
    }
    let keys = rows.skipped.keys();
    if !rows.skipped.is_empty() {
        run(
            tx,
            "INSERT INTO skipped_kinds AS s (body, kind, version, entries)
             SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::bigint[])
             ON CONFLICT (body, kind, version) DO UPDATE SET entries = s.entries + excluded.entries",
            &[
                &column(keys.clone(), |k| k.0),
                &column(keys.clone(), |k| k.1),
                &column(keys, |k| k.2),
                &column(rows.skipped.values(), |n| *n),
            ],
        )
        .await?;
    }
    if !rows.settled.is_empty() {
        let (subjects, settled) = (rows.settled.keys(), rows.settled.values());
        run(
            tx,
            "UPDATE exceptions AS x SET settled_seq = w.seq, settled_order = w.settled_order, settled_at_ms = e.at_ms
             FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[]) AS w (kind, store_id, subject, seq, settled_order)
             CROSS JOIN LATERAL (SELECT at_ms FROM entries WHERE central_seq = w.seq
                 UNION ALL SELECT at_ms FROM forked_entries WHERE central_seq = w.seq) AS e
             WHERE x.subject = w.subject AND x.kind = w.kind AND x.store_id IS NOT DISTINCT FROM w.store_id AND x.settled_seq IS NULL",
            &[
                &column(subjects.clone(), |s| s.kind),
                &column(subjects.clone(), |s| s.store),
                &column(subjects, |s| s.id),
                &column(settled.clone(), |s| s.central_seq),
                &column(settled, |s| s.order),
            ],
        )
        .await?;
    }
    let r = &rows.exceptions;
    if !r.is_empty() {
        let mut flags = BTreeMap::<i64, i32>::new();
        let places: Vec<i32> = r
            .iter()
            .map(|e| {
                let place = flags.entry(e.central_seq).or_default();
                *place += 1;
                *place
            })
            .collect();
        run(
            tx,
            "INSERT INTO exceptions (central_seq, place, store_id, order_id, kind, detail, device_id, at_ms, subject, settled_seq,
                 settled_at_ms, settled_order)
             SELECT central_seq, r.place + COALESCE((SELECT max(place) FROM exceptions AS x WHERE x.central_seq = r.central_seq), 0),
                 r.store_id, r.order_id, r.kind, r.detail, e.device, e.at_ms, r.subject, r.settled_seq, s.at_ms, r.settled_order
             FROM unnest($1::bigint[], $2::int[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::uuid[], $8::bigint[], $9::uuid[])
                 AS r (central_seq, place, store_id, order_id, kind, detail, subject, settled_seq, settled_order)
             JOIN (SELECT central_seq, device, at_ms FROM entries UNION ALL SELECT central_seq, device, at_ms FROM forked_entries)
                 AS e USING (central_seq)
             LEFT JOIN LATERAL (SELECT at_ms FROM entries WHERE central_seq = r.settled_seq
                 UNION ALL SELECT at_ms FROM forked_entries WHERE central_seq = r.settled_seq) AS s ON true",
            &[
                &col!(r, central_seq),
                &places,
                &col!(r, store),
                &col!(r, order),
                &col!(r, kind),
                &col!(r, detail),
                &col!(r, subject),
                &column(r, |e| e.settled.map(|s| s.central_seq)),
                &column(r, |e| e.settled.and_then(|s| s.order)),
            ],
        )
        .await?;
    }
    Ok(())
}
