/** Node.js' own byte-string methods of Buffer, which its type declarations leave out. */
declare global {
  interface Buffer {
    /** Bytes [start, end) as a string of one char a byte. */
    latin1Slice(start?: number, end?: number): string;
    /** Writes one byte a char. */
    latin1Write(text: string, offset?: number, length?: number): number;
  }
}

export {};
