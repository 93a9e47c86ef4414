// Photos: made smaller on the phone. The new image has no metadata, so no place and no time.

const MAX_SIDE_PX = 1600;
const THUMBNAIL_PX = 320;
const JPEG_QUALITY = 0.9;

export const MAX_PHOTOS = 5;

/** Return a photo of at most 1,600 px as JPEG, upright; a file that the browser cannot read is returned as it is. */
export async function shrink(file) {
  const image = await read(file);
  if (!image) return file;
  const scale = Math.min(1, MAX_SIDE_PX / Math.max(image.width, image.height));
  const small = await draw(image, {
    width: Math.max(1, Math.round(image.width * scale)),
    height: Math.max(1, Math.round(image.height * scale)),
  });
  image.close();
  return small ?? file;
}

/** Return the middle of a photo as a small square JPEG; null if the browser cannot read it. */
export async function thumbnail(photo) {
  const image = await read(photo);
  if (!image) return null;
  const side = Math.min(image.width, image.height);
  const size = Math.min(THUMBNAIL_PX, side);
  const source = { x: (image.width - side) / 2, y: (image.height - side) / 2, width: side, height: side };
  const small = await draw(image, { width: size, height: size }, source);
  image.close();
  return small;
}

async function read(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

function draw(image, { width, height }, source = { x: 0, y: 0, width: image.width, height: image.height }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind a transparent image
  context.fillRect(0, 0, width, height);
  context.drawImage(image, source.x, source.y, source.width, source.height, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}
