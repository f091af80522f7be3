import type { ManagerWords } from './messages/manager';

/**
 * Every word the app says; those of the back office are in messages/manager.ts and come with it. One table a language; a key missing in a language is a type error. `{name}` is filled in,
 * and keys ending in `_one` and `_other` are chosen by the count.
 */

const en = {
  'app.name': 'Evertill',
  'app.loading': 'Loading…',
  'app.no_face': 'Nothing answers at this address. Trying again…',
  'app.theme': 'Colours: {theme}',
  'app.theme.system': 'as the machine',
  'app.theme.light': 'light',
  'app.theme.dark': 'dark',
  'app.close': 'Close',
  'app.cancel': 'Cancel',
  'app.back': 'Back',
  'app.dismiss': 'Dismiss',
  'app.try_again': 'Try again',

  'time.just_now': 'just now',

  'token.title': 'Open the address that the till printed',
  'token.body':
    'This page needs the key at the end of that address. Start the till’s program, copy the whole address that it prints, and open it here.',

  'window.first_title': 'Make this machine a till',
  'window.first_body':
    'A manager makes an enrolment link on the manager page, under Devices. Paste it here. A link is good for 15 minutes and for one till.',
  'window.link': 'Enrolment link',
  'window.enrol': 'Enrol this till',
  'window.enrolling': 'Enrolling…',
  'window.data': 'Everything is kept in {folder}',
  'window.details': 'For whoever helps:',
  'window.stuck.title': 'This till cannot be opened',
  'window.stuck.in_use': 'This till is open already',
  'window.stuck.broken': 'The till has stopped',
  'window.problem.bad_link':
    'That is not a whole enrolment link. It begins with evertill:// and ends in 64 letters and digits: copy it once more from the manager page.',
  'window.problem.unreachable':
    'The sync server does not answer. Check that this machine has a network and that the link is from your own manager page, then try again.',
  'window.problem.denied': 'The sync server did not accept the link: {message}.',
  'window.problem.broke_off':
    'The connection broke off. Try again; if the link is refused then, ask for a new one.',
  'window.problem.in_use':
    'Another program uses this till’s folder: its window may be behind this one, or the till runs without a window. Go on there, or stop it and try again. Nothing was changed.',
  'window.problem.already_enrolled': 'This folder is a till already. Close the window and open it again.',
  'window.problem.folder':
    'A file of this till cannot be used. Nothing was changed. What is below says which file, and what to do.',
  'window.problem.config':
    'The configuration of this till is wrong. Nothing was opened. Correct the file that is named below, then try again.',
  'window.problem.database':
    'The files of this till cannot be opened. Nothing was changed: what was sold is still in them. Call for help before you sell from another folder.',
  'window.problem.broken':
    'Everything that was shown as sold is kept. Try again; if it stops once more, call for help.',

  'keypad.label': 'Keypad',
  'keypad.back': 'Delete last digit',
  'keypad.clear': 'Clear',

  'till.unreachable': 'The till’s program does not answer. Trying again…',
  'till.waiting_title': 'Waiting for the store’s settings',
  'till.waiting_body': 'They arrive from the regional server. This page goes on by itself.',
  'till.no_staff': 'Nobody may sign in here yet. Staff arrive from the regional server.',
  'till.sign_out': 'Sign out',
  'till.keys': 'Keys',
  'till.business_day': 'Business day {day}',

  'role.cashier': 'Cashier',
  'role.shift_lead': 'Shift lead',
  'role.manager': 'Manager',

  'signin.title': 'Who is selling?',
  'signin.choose': 'Choose your name.',
  'signin.pin': 'PIN',
  'signin.pin_entered_one': '{count} digit entered',
  'signin.pin_entered_other': '{count} digits entered',
  'signin.submit': 'Sign in',
  'signin.wait': 'Too many wrong PINs. Try again in {time}.',
  'signin.wrong': 'That PIN is not right. Try again.',

  'shift.open_title': 'Open a shift',
  'shift.open_body': 'Count the cash that lies in the drawer now and enter the sum.',
  'shift.float': 'Float in the drawer',
  'shift.open': 'Open shift',
  'shift.last_closed': 'The last shift',
  'shift.close_title': 'Close the shift',
  'shift.close_body':
    'Count all the cash in the drawer and enter the sum. What was expected shows afterwards.',
  'shift.counted': 'Cash counted',
  'shift.close': 'Close shift',
  'shift.expected': 'Expected',
  'shift.difference': 'Difference',
  'shift.difference_none': 'The drawer is exact',
  'shift.difference_short': 'Short',
  'shift.difference_over': 'Over',
  'shift.opened': 'Opened',
  'shift.day': 'Business day',
  'shift.float_short': 'Float',
  'shift.sales': 'Sales',
  'shift.refunds': 'Refunds',
  'shift.print_z': 'Print Z report',
  'shift.print_addendum': 'Print addendum {number}',
  'shift.addendum': 'Addendum {number}',
  'shift.addendum_sales_one': '{count} sale',
  'shift.addendum_sales_other': '{count} sales',
  'shift.addendum_refunds_one': '{count} refund',
  'shift.addendum_refunds_other': '{count} refunds',
  'shift.addenda': 'Addenda: {count}',
  'shift.difference_with_addenda': 'Difference with addenda',
  'shift.earlier': 'Earlier shifts of the store',
  'shift.cart_not_empty': 'The cart is not empty. Take the payment or empty it first.',

  'sell.search': 'Search products',
  'sell.search_placeholder': 'Name or code',
  'sell.search_clear': 'Clear search',
  'sell.searching': 'Searching…',
  'sell.search_none': 'Nothing found for “{text}”',
  'sell.search_idle': 'Scan, or type a name or a code.',
  'sell.search_idle_body':
    'Scanning works whatever is on the screen. “6*” before a scan or a code means six.',
  'sell.results': 'Products',
  'sell.in_stock': '{quantity} in stock',
  'sell.entry': 'Typed',
  'sell.unknown_code': 'No product has the code {code}. It was not added.',
  'sell.not_added': '{code} was not added. {reason}',
  'sell.lost': 'It is not known whether {code} was added. Look at the cart before scanning it again.',
  'sell.lost_other': 'The till did not answer. Look at the screen before doing it again.',

  'cart.title': 'Cart',
  'cart.sale': 'Sale',
  'cart.refund': 'Refund',
  'cart.empty': 'Scan the first item',
  'cart.empty_refund': 'Scan what comes back',
  'cart.items_one': '{count} line',
  'cart.items_other': '{count} lines',
  'cart.clear': 'Empty cart',
  'cart.clear_refund': 'Cancel refund',
  'cart.clear_sure': 'Really empty?',
  'cart.clear_recalled': 'The parked order stays as it was.',
  'cart.recalled': 'Parked order',
  'cart.recalled_closed':
    'It was paid or given up at another till. Empty the cart, and scan anew what is still to be paid.',
  'cart.empty_recalled': 'Nothing is left in this order',
  'cart.empty_recalled_body': 'Give it up under Parked, or empty the cart to leave it as it was.',
  'cart.each': '{price} each',
  'cart.more': 'One more of {name}',
  'cart.less': 'One less of {name}',
  'cart.quantity': 'Quantity of {name}: {quantity}',
  'cart.remove': 'Remove {name}',
  'cart.remove_short': 'Remove',
  'cart.tax': 'Tax {rate} of {net}',
  'cart.tax_included': 'Including tax {rate}',
  'cart.total': 'Total',
  'cart.total_refund': 'To pay out',

  'park.open': 'Park',
  'park.open_again': 'Put back',
  'park.title': 'Park this cart',
  'park.title_again': 'Put this order back',
  'park.body': 'Any till of the store can go on with it.',
  'park.label': 'Label, such as a name or a table',
  'park.note': 'Note',
  'park.too_long': 'That is too long. Shorten it.',
  'park.submit': 'Park',
  'park.submit_again': 'Put back',

  'parked.title': 'Parked orders of this store',
  'parked.search': 'Label',
  'parked.search_placeholder': 'Part of a label',
  'parked.loading': 'Looking them up…',
  'parked.none': 'Nothing is parked',
  'parked.none_body': 'Park a cart to serve somebody else first. Any till of the store can go on with it.',
  'parked.none_found': 'No label has “{text}” in it',
  'parked.cart_not_empty': 'Something is in the cart. Take the payment, park it or empty it first.',
  'parked.no_label': 'No label',
  'parked.in_cart': 'In the cart',
  'parked.who': '{name}, {ago}',
  'parked.give_up': 'Give up',
  'parked.give_up_of': 'Give up {label}',
  'parked.give_up_title': 'Give up “{label}”?',
  'parked.give_up_title_none': 'Give up this order?',
  'parked.give_up_body': '{lines}, {total}. Nobody pays for it, and it leaves the list of every till.',
  'parked.give_up_cart': 'The cart is emptied, too.',

  'quantity.title': 'Quantity of {name}',
  'quantity.field': 'Quantity',
  'quantity.submit': 'Set quantity',

  'pay.open': 'Pay',
  'pay.open_refund': 'Pay out',
  'pay.title': 'Cash',
  'pay.title_refund': 'Pay out in cash',
  'pay.tendered': 'Cash received',
  'pay.quick': 'Amounts',
  'pay.exact': 'Exact',
  'pay.change': 'Change',
  'pay.short': 'Still missing',
  'pay.submit': 'Take {amount}',
  'pay.submit_refund': 'Pay out {amount}',
  'pay.refund_body': 'Give this to the customer:',

  'settled.change': 'Change',
  'settled.give_back': 'Give back',
  'settled.receipt': 'Receipt {receipt}',
  'settled.total': 'Total {amount}',
  'settled.received': 'Received {amount}',
  'settled.reprint': 'Print a copy',

  'print.queued': 'Receipt waits for the printer',
  'print.sending': 'Receipt is printing',
  'print.confirmed': 'Receipt printed',
  'print.sent_unconfirmed': 'Receipt sent to the printer',
  'print.uncertain': 'Did the receipt come out?',
  'print.reprinted': 'A copy was printed',
  'print.accepted': 'Receipt seen',
  'print.ask': 'Did the receipt {receipt} come out?',
  'print.yes': 'Yes, it did',
  'print.no': 'No, print a copy',
  'print.waiting_one': '{count} receipt waits for the printer',
  'print.waiting_other': '{count} receipts wait for the printer',

  'count.title': 'Count stock',
  'count.body':
    'Scan or search a product, count what is on the shelf, and say why. What other tills sell meanwhile is taken off by itself.',
  'count.idle': 'Scan, or type a name or a code.',
  'count.of': 'Count {name}',
  'count.expected': '{quantity} by the records',
  'count.field': 'There are',
  'count.submit': 'There are {quantity}',
  'count.submit_none': 'Count',
  'count.done': '{name}: {quantity} counted.',
  'count.unknown': 'No product has the code {code}. Nothing was counted.',
  'count.reason.stocktaking': 'Stocktaking',
  'count.reason.spot': 'Spot check',
  'count.reason.oversold': 'Was oversold',

  'drawer.kicked': 'Drawer opened',
  'drawer.open_by_key': 'Open the drawer by key',
  'drawer.title': 'No sale',
  'drawer.body': 'Opens the drawer and keeps the reason.',
  'drawer.submit': 'Open drawer',
  'drawer.reason.change': 'Change',
  'drawer.reason.float': 'Float check',
  'drawer.reason.till': 'Till error',

  'reason.field': 'Reason',
  'reason.pick': 'Common reasons',

  'refund.title': 'Refund {receipt}',
  'refund.start_title': 'Refund without receipt',
  'refund.start_body': 'Gives money back for goods whose sale cannot be found. The reason is kept.',
  'refund.start': 'Start refund',
  'refund.quantity': 'Refund how many of {name}',
  'refund.more': 'Refund one more of {name}',
  'refund.less': 'Refund one less of {name}',
  'refund.all': 'All',
  'refund.all_of': 'Refund all of {name}',
  'refund.everything': 'Refund everything',
  'refund.none_left': 'Refunded',
  'refund.some_left': '{quantity} left',
  'refund.submit': 'Refund {quantity}',
  'refund.submit_none': 'Refund',
  'refund.pick_lines': 'Choose what comes back.',
  'refund.pick_reason': 'Give a reason.',
  'refund.value': 'Value',
  'refund.value_about': 'Value, about',
  'refund.before': 'Refunded before: {amount} at {till}, {when}, with receipt {receipt}',
  'refund.before_by': 'Refunded before: {amount} by {name} at {till}, {when}, with receipt {receipt}',
  'refund.twice': 'The parked order “{label}” was paid twice: here, and with receipt {receipts}.',
  'refund.twice_unnamed': 'A parked order was paid twice: here, and with receipt {receipts}.',
  'refund.twice_body': 'Ask both customers who paid. One of the two payments goes back.',
  'refund.twice_submit': 'Give back what was paid twice: {amount}',
  'refund.twice_forbidden': 'A shift lead or manager can give it back.',
  'refund.reason.damaged': 'Damaged',
  'refund.reason.wrong': 'Wrong item',
  'refund.reason.unwanted': 'Not wanted',

  'history.title': 'Orders of this store',
  'history.search': 'Receipt number',
  'history.search_placeholder': 'Part of a receipt number',
  'history.none': 'No orders yet',
  'history.receipt': 'Receipt',
  'history.time': 'Time',
  'history.till': 'Till',
  'history.lines': 'Lines',
  'history.total': 'Total',
  'history.kept': 'Kept by',
  'history.is_refund': 'Refund',
  'history.paid_twice': 'Paid twice',
  'history.served': 'Served by {name}',
  'history.original': 'Refund of {receipt}',
  'history.reason': 'Reason: {reason}',
  'history.item': 'Item',
  'history.quantity': 'Quantity',
  'history.amount': 'Amount',
  'history.comes_back': 'Comes back',
  'history.loading': 'Looking it up…',
  'history.at_the_server': 'At the server',
  'history.asking': 'Asking the server for this sale…',
  'history.none_here': 'No receipt of this till has “{text}” in it',
  'history.find': 'Ask the server for {receipt}',
  'history.find_hint': 'A receipt that this till no longer has is found by its whole number.',
  'history.reprint': 'Print a copy',
  'history.reprinted': 'A copy of {receipt} is on its way to the printer.',

  'link.online': 'Online',
  'link.offline': 'Offline',
  'link.busy': 'Server busy',
  'link.unsent_one': '{count} to send',
  'link.unsent_other': '{count} to send',
  'link.all_sent': 'all sent',
  'link.title': 'Where the sales are',
  'link.selling_goes_on': 'Selling goes on without a link. What is not sent yet is kept on this till’s disk.',
  'link.last_contact': 'Server last heard',
  'link.never': 'not yet',
  'link.unsent': 'Not at the regional server yet',
  'link.not_central': 'Not at the central database yet',
  'link.neighbours': 'Other tills of the store connected',
  'link.last_order': 'Last order',
  'link.no_order': 'none yet',
  'link.problem': 'Problem',
  'link.history': 'Earlier sales of the shop',
  'link.history_arriving': 'history {percent} %',
  'link.history_meanwhile':
    '{percent} % have arrived. Until all have, older sales are not found here; selling needs none of them.',
  'link.way': 'Way to the server',
  'link.way.quic': 'QUIC',
  'link.way.tcp': 'TCP: this network lets no UDP through',

  'durability.device': 'this till',
  'durability.neighbour': 'this till and another one of the store',
  'durability.regional': 'regional server',
  'durability.central': 'central database',
  'durability.kept': 'Kept by: {where}',

  'menu.label': 'What to do',
  'menu.search': 'Search',
  'menu.parked': 'Parked',
  'menu.history': 'Orders',
  'menu.refund': 'Refund, no receipt',
  'menu.drawer': 'No sale',
  'menu.count': 'Count',
  'menu.shift': 'Close shift',

  'keys.title': 'Keys',
  'keys.scan': 'Add an item, whatever is on the screen',
  'keys.scan_key': 'scan',
  'keys.times': 'Six of the next scan or code',
  'keys.typed': 'Add the item with that code; on a chosen line, set its quantity',
  'keys.typed_key': 'digits, Enter',
  'keys.search': 'Search',
  'keys.parked': 'Parked orders',
  'keys.history': 'Orders, reprint, refund',
  'keys.refund': 'Refund without receipt',
  'keys.shift': 'Close the shift',
  'keys.drawer': 'No sale: open the drawer',
  'keys.pay': 'Pay; Enter then takes the exact amount',
  'keys.park': 'Park the cart; Enter then parks it',
  'keys.select': 'Choose a line of the cart',
  'keys.change': 'One more, one less',
  'keys.remove': 'Remove the line',
  'keys.remove_key': 'Delete',
  'keys.escape': 'Back, clear what was typed, dismiss a notice',
  'keys.map': 'This list',

  // Codes with many causes: the till's own sentence says which it is.
  'error.bad_request': '{message}',
  'error.not_authorised': 'This page has lost its key. Open the address that the till printed.',
  'error.not_signed_in': 'Sign in first.',
  'error.wrong_pin': 'That PIN is not right. Try again.',
  'error.pin_locked': 'Too many wrong PINs. Wait a little.',
  'error.forbidden': 'Your role does not allow this. Ask a shift lead or a manager.',
  'error.not_ready': 'The till has not received its store’s settings yet. Connect it once.',
  'error.no_shift': 'Open a shift first.',
  'error.shift_open': 'A shift is open already. Close it first.',
  'error.unknown_code': 'No product has that code. Scan it again, or search by name.',
  'error.inactive_product': 'This product is not on sale any more. Put it aside and ask a manager.',
  'error.cart_empty': 'The cart is empty. Scan something first.',
  'error.cart_not_empty': 'Something is in the cart. Settle it or empty it first.',
  'error.cart_full': '{message}',
  'error.no_such_line': 'That line is not there any more. Look at the screen.',
  'error.bad_quantity': '{message}',
  'error.bad_amount': '{message}',
  'error.tender_short': '{message}',
  'error.stale_order': '{message}',
  'error.no_such_order': 'This till does not know that order. Look it up again.',
  'error.nothing_to_refund': '{message}',
  'error.no_such_print_job': 'That receipt needs no answer any more.',
  'error.storage': 'The till’s disk is full or broken. Nothing was recorded: call for help.',
  'error.not_kept': '{message}',
  'error.in_doubt': 'It is not known whether that was recorded. Look at the screen before going on.',
} as const;

type Words = Record<string, string>;
export type MessageKey = keyof typeof en | keyof ManagerWords;
type Counted<K> = K extends `${infer Base}_other` ? Base : never;
export type CountedKey = Counted<MessageKey>;

const tables: Record<string, Words> = { en: { ...en } };

/** Words that come with a part of the app, one table a language. */
export function addWords(more: Record<string, Words>): void {
  for (const [language, words] of Object.entries(more)) Object.assign((tables[language] ??= {}), words);
}

function chooseLocale(): string {
  const wanted = typeof navigator === 'undefined' ? [] : navigator.languages;
  return wanted.find((tag) => tag.split('-')[0]! in tables) ?? 'en-GB';
}

/** The locale of words, numbers and dates. */
export const locale = chooseLocale();
const table = tables[locale.split('-')[0]!] ?? tables['en']!;
const plurals = new Intl.PluralRules(locale);

export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return (table[key] ?? key).replace(/\{(\w+)\}/g, (hole, name: string) => String(values[name] ?? hole));
}

/** The message for a count; `count` is filled in as written for people. */
export function tn(key: CountedKey, n: number): string {
  const exact = `${key}_${plurals.select(n)}`;
  const chosen = (exact in table ? exact : `${key}_other`) as MessageKey;
  return t(chosen, { count: new Intl.NumberFormat(locale).format(n) });
}

/** The message under a key made from data, or the fallback when there is none. */
export function tOr(key: string, fallback: string, values: Record<string, string | number> = {}): string {
  return key in table ? t(key as MessageKey, values) : fallback;
}
