/** The threads that work behind the front. */
import { native } from '../native.ts';

/** Makes the calling thread one of the background: the front, and programs, take its processor whenever they wake up. */
export const enterBackground = (): void => native.enterBackground();
