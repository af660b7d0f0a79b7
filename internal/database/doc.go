// Package database has the words that the kinds of databases share: what a
// configuration says of tables, the errors that a caller tells apart, a table
// as its database declares it, and what tills are asked to send of it.
//
// It opens nothing: that is the part of internal/sqlite and
// internal/postgres, one room for each kind. What SQL there is runs on any
// [Conn].
package database
