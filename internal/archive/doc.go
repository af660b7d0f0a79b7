// Package archive writes and reads the one file that carries what a batch
// holds, rows or a folder's files: a tar of regular files in a single zstd
// frame.
//
// The form is narrow, so that there is one archive only for given members:
// USTAR headers with mode 0644, owner 0, time 0 and no names but the file's,
// which is split into prefix and name when it is longer than 100 bytes;
// zstd level 3 with a checksum and a window within 8 MiB, no dictionary,
// nothing before or behind the frame. Stock tools read it:
//
//	zstd -t 0000000042.tar.zst
//	tar --zstd -xOf 0000000042.tar.zst data/article.0001.ndjson | head
//
// # Writing
//
// [NewWriter] takes bodies one after the other and compresses each while the
// caller makes the next. Add returns what the manifest says of a member, and
// Close what it says of the archive. The example shows it whole.
//
// What names and sizes members may have is a [Form]. The functions without
// one are for [Rows], whose bodies are short and lie in memory. Files of any
// size go through [Writer.AddFile], which reads them as it writes.
//
// # Reading
//
// The order protects: first the signature over the manifest (elsewhere), then
// [Check], which compares size and SHA-256 of the file as it lies there, then
// [NewReader], which decompresses. All must read the same open file.
//
// The Reader knows from the manifest every byte of the tar that is not a
// body, and refuses the first byte that is another one. So it needs no list
// of bad things - links, devices, long names, sparse files, records that
// rename what follows, a second tar behind the first, an end that comes too
// early - of which each tar library has its own understanding.
//
// Errors of this package name the member and the place; whoever opened the
// file adds its name and what was left unchanged.
package archive
