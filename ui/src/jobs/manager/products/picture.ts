/** Makes a picture small enough for every till's disk: in the browser, before it goes anywhere. */

export const PICTURE_BYTES_MAX = 48 * 1024;
/** Larger files are not even read. */
export const FILE_BYTES_MAX = 40 * 1024 * 1024;
const EDGES = [640, 512, 384, 256, 160];
const QUALITIES = [0.86, 0.74, 0.6, 0.45];

export interface Size {
  width: number;
  height: number;
}

/** The size within a square of `edge` with the same proportions; never larger than it was, never nothing. */
export function fitWithin({ width, height }: Size, edge: number): Size {
  const scale = Math.min(1, edge / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** What is tried one after the other until it fits: as much quality as possible, then fewer pixels. */
export function* attempts(size: Size): Generator<{ size: Size; quality: number }> {
  const tried = new Set<string>();
  for (const edge of EDGES) {
    const fitted = fitWithin(size, edge);
    const name = `${fitted.width}x${fitted.height}`;
    if (tried.has(name)) continue;
    tried.add(name);
    for (const quality of QUALITIES) yield { size: fitted, quality };
  }
}

/** The first attempt that fits; null when none does, which no picture is known to manage. */
export async function firstThatFits(
  size: Size,
  encode: (size: Size, quality: number) => Promise<Blob | null>,
  bytesMax = PICTURE_BYTES_MAX,
): Promise<Blob | null> {
  for (const attempt of attempts(size)) {
    const blob = await encode(attempt.size, attempt.quality);
    if (blob && blob.size <= bytesMax) return blob;
  }
  return null;
}

export type PictureProblem = 'not_a_picture' | 'too_large';

/** A file as a picture that the server takes. */
export async function shrink(file: Blob): Promise<Blob | PictureProblem> {
  if (file.size > FILE_BYTES_MAX) return 'too_large';
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return 'not_a_picture';
  }
  try {
    return (await firstThatFits(bitmap, (size, quality) => draw(bitmap, size, quality))) ?? 'too_large';
  } finally {
    bitmap.close();
  }
}

async function draw(bitmap: ImageBitmap, { width, height }: Size, quality: number): Promise<Blob | null> {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (!context) return null;
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  const webp = await encoded(canvas, 'image/webp', quality);
  // A browser that cannot write WebP hands out PNG instead.
  if (webp?.type === 'image/webp') return webp;
  // JPEG has no see-through: what is not painted is white.
  context.globalCompositeOperation = 'destination-over';
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  return encoded(canvas, 'image/jpeg', quality);
}

const encoded = (canvas: HTMLCanvasElement, type: string, quality: number) =>
  new Promise<Blob | null>((done) => canvas.toBlob(done, type, quality));
