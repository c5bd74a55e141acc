// Text and bytes.

/** UTF-8 with nothing replaced and nothing left out. */
export const textOf = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

export const utf8 = (text = ""): Uint8Array => new TextEncoder().encode(text);
