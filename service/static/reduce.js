// Makes a large photo small before it is sent, where sending it would take long.

const LONGEST_SIDE = 1280; // pixels; the model looks at far fewer
const QUALITY = 0.9;
const SMALL_BYTES = 512 * 1024; // not worth the work on a phone or a slow connection
const LARGE_BYTES = 4 * 1024 * 1024; // worth it anywhere
const STILL = new Set(["image/jpeg", "image/png", "image/webp", "image/bmp"]); // a GIF may move: it stays

/** The picture, or a smaller copy of it that stands upright; the picture itself if that is not possible. */
export async function reduce(picture) {
  const limit = onPhone() || onSlowConnection() ? SMALL_BYTES : LARGE_BYTES;
  if (picture.size <= limit || !STILL.has(picture.type)) return picture;
  try {
    const copy = await smallerCopy(picture);
    return copy && copy.size < picture.size ? copy : picture;
  } catch {
    return picture; // the browser cannot read it; the service may, or will say why not
  }
}

function onPhone() {
  return matchMedia("(pointer: coarse)").matches;
}

function onSlowConnection() {
  const connection = navigator.connection;
  return Boolean(connection) && (connection.saveData || ["slow-2g", "2g", "3g"].includes(connection.effectiveType));
}

async function smallerCopy(picture) {
  const bitmap = await createImageBitmap(picture, { imageOrientation: "from-image" });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // the service lays transparent pictures on white too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}
