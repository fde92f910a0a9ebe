// Says things in plain words: what went wrong, how sure, how large, how long.

const BY_CODE = {
  "unreachable": () => "The service cannot be reached. Check the connection, then try again.",
  "unopened": () => "This file cannot be opened. It may be a folder, or have been moved since you chose it.",
  "unreadable-picture": () => "This picture is damaged or cut off, so it cannot be read.",
  "too-many-pixels": () => "This picture has too many pixels for the service. Try a smaller copy of it.",
  "not-ready": () => "The service is not ready yet.",
};

const BY_STATUS = {
  401: () => "This waits for a key.",
  408: () => "Sending this picture took too long. Try a smaller copy of it.",
  413: (file) => `This picture is too large for the service (${size(file.size)}). Try a smaller copy of it.`,
  415: () => "This is not a picture that can be read. JPEG, PNG, WebP, GIF and BMP can.",
  429: () => "The service is busy.",
  503: () => "The service has a problem at the moment.",
  504: () => "The service did not answer in time. Try again in a moment.",
};

/** What a problem means for the person who chose this file. */
export function plainly(problem, file) {
  const say = BY_CODE[problem.code] ?? BY_STATUS[problem.status];
  return say ? say(file) : `That did not work: ${problem.message}.`;
}

/** A probability's natural logarithm, for people. */
export function share(logProbability) {
  const percent = 100 * Math.exp(logProbability);
  if (percent < 1) return "under 1%";
  return percent > 99 && percent < 100 ? "over 99%" : `${Math.round(percent)}%`;
}

export function size(bytes) {
  const kilo = bytes / 1024;
  return kilo < 1000 ? `${Math.ceil(kilo)} KB` : `${(kilo / 1024).toFixed(1)} MB`;
}

export function count(many, one) {
  return `${many} ${one}${many === 1 ? "" : "s"}`;
}

/** Where a caption's time went, for the curious. */
export function timing(answer, file, sent) {
  const { total_ms, decode_ms, queue_ms, inference_ms, batch_size } = answer.timing;
  const company = batch_size === 1 ? "alone" : `in a batch of ${batch_size}`;
  const way = sent === file ? size(file.size) : `${size(sent.size)}, reduced here from ${size(file.size)}`;
  return (
    `${ms(total_ms)} in the service: ${ms(decode_ms)} to read it, ${ms(queue_ms)} in the queue, ` +
    `${ms(inference_ms)} in the network, ${company}. Sent: ${way}. ` +
    `Model: ${answer.model.name}, revision ${answer.model.revision}.`
  );
}

function ms(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}
