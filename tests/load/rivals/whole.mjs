/** Whether a sale is there with its four lines and its payment. */
export function isWhole(sale) {
  return Number.isInteger(sale?.receipt_number) && sale.lines?.length === 4 && sale.payments?.length === 1;
}
