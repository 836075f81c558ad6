/** How the upload relay says no: an HTTP status and plain text, as the official one does. */
export class RelayError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}
