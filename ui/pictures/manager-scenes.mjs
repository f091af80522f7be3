/**
 * What the pictures of the back office show: `path`, `server` (changes the made-up server), `events` (of the live feed),
 * `isNotLive`, `steps`, `size` where one size is enough, and `isPrinted` for how it looks on paper.
 */
const id = (page, testid) => page.getByTestId(testid);
const fails = (server) => {
  server.instead = ({ path }) =>
    path === '/session' || path === '/stores'
      ? undefined
      : { status: 503, value: { code: 'central_away', message: '' } };
};
const never = (server) => {
  server.instead = ({ path }) => (path === '/session' || path === '/stores' ? undefined : null);
};
const nothing = (server) => {
  server.made = [];
  server.catalogue = [];
  server.exceptions = [];
  server.imports = [];
  server.devices = [];
};
const signedOut = (server) => (server.session = null);

const sale = (shop) => ({
  type: 'sale',
  sale: {
    store: 'S01',
    order: shop.id(5, 9_999),
    kind: 'sale',
    number: 'S01-T01b-000999',
    device: shop.id(4, 1),
    till: 'Till 1',
    cashier: 'Amara Okafor',
    at_ms: shop.NOW - 1_000,
    accepted_at_ms: shop.NOW - 900,
    currency: 'GBP',
    exponent: 2,
    total_minor: 4_582,
    lines: 4,
    first_line: 'Set of 3 cake tins pantry design',
  },
});

const desk = { width: 1440, height: 960 };
/** What A4 has between its margins. */
const paper = { width: 688, height: 1017 };

export const managerScenes = [
  { name: 'manager-sign-in', server: signedOut },
  {
    name: 'manager-sign-in-wrong',
    server: signedOut,
    size: desk,
    async steps(page) {
      await id(page, 'manager-name').fill('dana');
      await id(page, 'manager-password').fill('nonsense');
      await id(page, 'manager-sign-in').click();
      await id(page, 'manager-error').waitFor();
    },
  },
  {
    name: 'manager-signed-out',
    size: desk,
    path: '/reports',
    async steps(page) {
      await page.route('**/api/v1/reports/**', (route) =>
        route.fulfill({ status: 401, json: { code: 'not_signed_in', message: '' } }),
      );
      await id(page, 'tab-till').click();
      await id(page, 'sign-in-again').waitFor();
    },
  },
  { name: 'today', events: (shop) => [sale(shop)], steps: (page) => page.waitForTimeout(900) },
  { name: 'today-whole', isWhole: true, events: (shop) => [sale(shop)] },
  {
    name: 'today-empty',
    server: (server) => (server.made = server.made.filter((one) => one.row.business_day < '2026-11-21')),
  },
  {
    name: 'today-closed-last-week',
    size: desk,
    server: (server) => (server.made = server.made.filter((one) => one.row.business_day !== '2026-11-14')),
  },
  { name: 'today-nothing', server: nothing },
  { name: 'today-loading', server: never },
  { name: 'today-failed', server: fails, isNotLive: true, size: desk },
  { name: 'today-320', size: { width: 320, height: 640 } },
  {
    name: 'today-320-large',
    size: { width: 320, height: 640 },
    server: (server) => {
      for (const { row } of server.made) row.total_minor *= 1_234;
    },
  },
  { name: 'today-4k', size: { width: 3840, height: 2160 } },
  { name: 'today-zoom', size: { width: 720, height: 480 }, scale: 2 },
  { name: 'reports-day', path: '/reports?range=last_30' },
  {
    name: 'reports-range',
    path: '/reports',
    async steps(page) {
      await id(page, 'range').click();
    },
  },
  {
    name: 'reports-basis',
    path: '/reports?basis=clock&time_zone=Asia/Tokyo',
    async steps(page) {
      await id(page, 'basis').click();
    },
  },
  { name: 'reports-hour', path: '/reports?by=hour', size: desk },
  { name: 'reports-till', path: '/reports?by=till', steps: (page) => id(page, 'coverage').click() },
  { name: 'reports-cashier', path: '/reports?by=cashier', size: desk },
  { name: 'reports-product', path: '/reports?by=product', isWhole: true },
  { name: 'reports-tender', path: '/reports?by=tender&sort=-net', size: desk },
  {
    name: 'reports-quiet-days',
    path: '/reports',
    server: (server) => (server.made = server.made.filter((one) => /-1[79]$/.test(one.row.business_day))),
  },
  {
    name: 'reports-printed',
    path: '/reports?range=last_7&store=S01',
    size: paper,
    isPrinted: true,
    isWhole: true,
  },
  {
    name: 'reports-product-printed',
    path: '/reports?by=product&range=this_month',
    size: paper,
    isPrinted: true,
    isWhole: true,
  },
  { name: 'reports-empty', path: '/reports?range=today', server: (server) => (server.made = []) },
  {
    name: 'reports-huge',
    path: '/reports',
    server: (server) => {
      for (const { row } of server.made) row.total_minor *= 99_876_543;
    },
  },
  { name: 'sales', path: '/sales' },
  {
    name: 'sales-filtered',
    path: '/sales?hour=11&product=x&product_name=Regency+cakestand+3+tier&kind=sale&search=12',
  },
  {
    name: 'sale',
    path: '/sales',
    isWhole: false,
    async steps(page) {
      await id(page, 'sale').nth(3).getByRole('link').first().click();
      await id(page, 'proof').waitFor();
    },
  },
  {
    name: 'sale-proof',
    path: '/sales',
    async steps(page) {
      await id(page, 'sale').nth(5).getByRole('link').first().click();
      await id(page, 'proof').scrollIntoViewIfNeeded();
    },
  },
  {
    name: 'sale-wide',
    path: '/sales?kind=refund',
    size: { width: 1720, height: 1000 },
    async steps(page) {
      await id(page, 'sale').first().getByRole('link').first().click();
      await id(page, 'proof').waitFor();
    },
  },
  {
    name: 'sale-printed',
    path: '/sales?kind=refund',
    size: paper,
    isPrinted: true,
    isWhole: true,
    async steps(page) {
      await id(page, 'sale').first().getByRole('link').first().click();
      await id(page, 'proof').waitFor();
    },
  },
  { name: 'sale-missing', path: '/sales/S01/nothing', size: desk },
  { name: 'products', path: '/products' },
  { name: 'products-none', path: '/products?search=xylophone', size: desk },
  {
    name: 'product',
    path: '/products?search=cakestand',
    server: (server, shop) => {
      const product = server.catalogue.find((one) => one.code === '22423').product;
      server.write(product, 'price', '£11.95', '£12.75', 'Ben Whitaker');
      server.write(product, 'name', 'Cakestand', 'Regency cakestand 3 tier', 'Dana Levi');
      server.history(product).splice(1, 0, {
        field: 'name',
        old: 'Cakestand',
        new: 'Cake stand, three tiers',
        by: 'Ben Whitaker',
        at_ms: shop.NOW - 60_000,
        outcome: 'outvoted',
      });
    },
    async steps(page) {
      await page.getByRole('link', { name: 'Regency cakestand 3 tier' }).click();
      await id(page, 'product-form').waitFor();
    },
  },
  {
    name: 'product-changed',
    path: '/products?search=bunting',
    async steps(page) {
      await page.getByRole('link', { name: 'Party bunting' }).click();
      await id(page, 'product-price').fill('twelve');
      await id(page, 'barcode-field').fill('4006381333931');
      await id(page, 'barcode-add').click();
      await id(page, 'save').click();
    },
  },
  {
    name: 'product-saved',
    path: '/products?search=bunting',
    size: desk,
    async steps(page) {
      await page.getByRole('link', { name: 'Party bunting' }).click();
      await id(page, 'product-price').fill('5.25');
      await id(page, 'save').click();
      await id(page, 'toast').waitFor();
    },
  },
  {
    name: 'product-leave',
    path: '/products?search=bunting',
    size: desk,
    async steps(page) {
      await page.getByRole('link', { name: 'Party bunting' }).click();
      await id(page, 'product-price').fill('5.25');
      await id(page, 'nav-stock').click();
      await id(page, 'confirm').waitFor();
    },
  },
  { name: 'product-new', path: '/products/new' },
  { name: 'stock', path: '/stock' },
  { name: 'stock-below', path: '/stock?below_milli=0', size: desk },
  {
    name: 'movements',
    path: '/stock?below_milli=0',
    async steps(page) {
      await id(page, 'stock-row').first().getByRole('link').first().click();
      await id(page, 'movements').waitFor();
    },
  },
  { name: 'devices', path: '/devices' },
  { name: 'devices-empty', path: '/devices', server: nothing, size: desk },
  {
    name: 'enrol',
    path: '/devices',
    async steps(page) {
      await id(page, 'enrol').click();
      await id(page, 'enrol-store').fill('S01');
      await id(page, 'enrol-name').fill('Till 5');
      await id(page, 'enrol-submit').click();
      await id(page, 'enrolment-link').waitFor();
    },
  },
  { name: 'exceptions', path: '/exceptions' },
  {
    name: 'exceptions-review',
    path: '/exceptions?state=all',
    async steps(page) {
      await id(page, 'review').first().click();
      await id(page, 'review-note').fill('Counted the shelf: the delivery of Thursday had not been entered.');
    },
  },
  { name: 'exceptions-none', path: '/exceptions', server: nothing, size: desk },
  { name: 'exceptions-all', path: '/exceptions?state=all' },
  { name: 'parked-orders', path: '/parked' },
  { name: 'shifts', path: '/shifts' },
  { name: 'imports', path: '/imports' },
  {
    name: 'imports-wrong',
    path: '/imports',
    size: desk,
    steps: (page) =>
      id(page, 'import-file').setInputFiles({
        name: 'products.xlsx',
        mimeType: 'application/octet-stream',
        buffer: Buffer.from('PK'),
      }),
  },
  { name: 'import-ready', path: '/imports/import-1' },
  { name: 'import-refused', path: '/imports/import-2' },
  {
    name: 'import-applying',
    path: '/imports/import-1',
    size: desk,
    server: (server) =>
      Object.assign(server.imports[0], { state: 'applying', done: 512, message: 'It is being written.' }),
    events: () => [{ type: 'import', id: 'import-1', state: 'applying', done: 760, rows: 1240 }],
    steps: (page) => page.waitForTimeout(800),
  },
  { name: 'import-applied', path: '/imports/import-9', size: desk },
  {
    name: 'settings',
    path: '/settings',
    isWhole: true,
    server: (server) => server.write('S01', 'receipt_footer', 'Thank you', 'Thank you!', 'Dana Levi'),
    async steps(page) {
      await id(page, 'store-tax-mode').selectOption('exclusive');
    },
  },
  { name: 'taxes', path: '/settings/taxes' },
  {
    name: 'tax-class',
    path: '/settings/taxes',
    size: desk,
    async steps(page) {
      await page.getByRole('button', { name: 'Standard rate', exact: true }).click();
      await id(page, 'class-rate').fill('21');
    },
  },
  { name: 'nowhere', path: '/no/such/page', size: desk },
  {
    name: 'not-live',
    path: '/devices',
    isNotLive: true,
    size: desk,
    steps: (page) => page.waitForTimeout(300),
  },
  {
    name: 'more',
    path: '/stock',
    size: { width: 390, height: 844 },
    steps: (page) => id(page, 'nav-more').click(),
  },
];
