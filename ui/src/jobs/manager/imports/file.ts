/** The file that products come in: what it may be, its columns, and a sample of it. */
import type { MessageKey } from '../../../lib/messages';

export const FILE_BYTES_MAX = 64 * 1024 * 1024;

export const COLUMNS = [
  'code',
  'name',
  'price',
  'tax_rate_bp',
  'tax_class',
  'barcodes',
  'category',
  'active',
] as const;
export const NEEDED = new Set<string>(['code', 'name', 'price']);

export const SAMPLE = [
  COLUMNS.join(','),
  '85123A,White hanging heart T-light holder,2.55,2000,,4006381333931|85123,Candles,true',
  '22423,"Cakestand, 3 tiers",12.75,,Standard rate,5012345678900,Kitchen,true',
  'TEA-LOOSE,Loose leaf tea by weight,24.80,0,,,Food,true',
  '',
].join('\r\n');

/** Why a file is not sent at all; null when it may be one. */
export function wrongFile(file: Pick<File, 'name' | 'size' | 'type'>): MessageKey | null {
  if (file.size === 0) return 'import.wrong.empty';
  if (file.size > FILE_BYTES_MAX) return 'import.wrong.large';
  const looksRight = /\.(csv|txt|tsv)$/i.test(file.name) || /csv|text\/plain/.test(file.type);
  return looksRight ? null : 'import.wrong.kind';
}
