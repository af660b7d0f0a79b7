// Package change is the neutral form of row changes, and their encoding as
// lines of JSON.
//
// A member of an archive is a text file. Its first line says what the others
// are; each of these is one row:
//
//	{"table":"article","op":"upsert","columns":["code","label","price","vat"]}
//	["3017620422003","Pâte à tartiner 400 g",349,"N"]
//
// Values are exact, in the five storage classes of SQLite: null; an integer
// as digits; a real always with "." or "e"; a text as a string, or as
// {"t":"<base64>"} when it is not UTF-8; a blob as {"b":"<base64>"}; the
// infinities as {"r":"+Inf"} and {"r":"-Inf"}.
//
// There is one way only to write a row. The reader takes no other: whatever it
// accepts, the writer would have written byte for byte. So two programs cannot
// understand the same signed bytes differently.
//
// A writer appends to a buffer of its own, with [AppendHeader] and [AppendRow]
// or, value by value, with [AppendInt] and the like. A reader takes a member
// with [NewMemberReader], block after block, and lets a [Pipe] decode ahead of
// the database.
package change
