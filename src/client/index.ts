export { followFeed, type FeedFrame, type FollowFeedOptions } from './feed.js';
export { FeedGapError, FeedInterruptedError, FeedRefusedError } from './feed-errors.js';
export { filePositionStore, type PositionStore } from './position-store.js';
export { callDaybook, CallRefusedError, type CallOptions } from './call-daybook.js';
export { readPages, type ConnectionPage, type ReadPagesOptions } from './read-pages.js';
export { verifyEntry, type EntryVerdict, type VerifyEntryOptions } from './verify-entry.js';
export * from './generated.js';
