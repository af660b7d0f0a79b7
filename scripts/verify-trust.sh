# What scripts/verify knows of trust documents: whose signatures count in a
# dossier, by the list of keys that was given and by what roots and server have
# signed since. Sourced; needs fault, saw, regular, size, digest, armored,
# shape, get and $signers, $tmp.

# whose DOSSIER: takes the list of keys apart. Files in $tmp: t.head (version
# threshold digest), t.roots, t.keys, t.limits; t.list (version digest), t.tills,
# t.tlimits; t.hand (lines by hand). Fails when no trust document is known.
whose() {
	rm -f "$tmp"/t.*
	for f in head roots keys limits list tills tlimits hand; do : >"$tmp/t.$f"; done
	awk -v code="$1" -v to="$tmp/t." '
		/^#: trust / { block = $3; part = ""; if (block == code) print $4, $5, $6 >(to "head"); next }
		/^#: tills / { part = "t"; if (block == code) print $4, $5 >(to "list"); next }
		/^#: (retired|revoked) / { if (block == code) print >(to part "limits"); next }
		/^#: end / { block = ""; next }
		/^[[:blank:]]*(#|$)/ { next }
		block == "" { print >(to "hand"); next }
		block != code { next }
		part == "t" { print >(to "tills"); next }
		/^root-/ { print >(to "roots"); next }
		{ print >(to "keys") }' "$signers"
	[ -s "$tmp/t.head" ]
}

# view: what counts, in $tmp/view and $tmp/limits. Where there are trust
# documents, a line by hand counts for tills alone.
view() {
	if [ -s "$tmp/t.head" ]; then
		grep -E '^[[:blank:]]*(till-[a-z0-9._-]+@[a-z0-9._-]+,)*till-[a-z0-9._-]+@[a-z0-9._-]+[[:blank:]]' "$tmp/t.hand"
		cat "$tmp/t.roots" "$tmp/t.keys" "$tmp/t.tills"
	else
		cat "$tmp/t.hand"
	fi >"$tmp/view"
	cat "$tmp/t.limits" "$tmp/t.tlimits" >"$tmp/limits"
}

# words DOSSIER: the list of keys as the documents have it.
words() {
	read -r version threshold known <"$tmp/t.head"
	echo "#: trust $1 $version $threshold $known"
	cat "$tmp/t.roots" "$tmp/t.keys" "$tmp/t.limits"
	if [ -s "$tmp/t.list" ]; then
		read -r version known <"$tmp/t.list"
		echo "#: tills $1 $version $known"
		cat "$tmp/t.tills" "$tmp/t.tlimits"
	fi
	echo "#: end $1"
}

# Of a document, the lines of allowed_signers that it makes.
grants='.[]|"\(.principal) namespaces=\"\(.namespaces|join(","))\" \(.key)"'
limits='(.retired[]|"#: retired \(.principal) \(.key) \(.stream) \(.sequence)"), (.revoked[]|"#: revoked \(.principal) \(.key) \(.stream) \(.sequence)")'

trust_shape='
def principal: type == "string" and test("^[a-z0-9._-]{1,64}@[a-z0-9._-]{1,64}$");
def role: split("@")[0];
def key: type == "string" and test("^[a-z0-9@.-]+ [A-Za-z0-9+/=]+$");
def limit: keys_unsorted == ["principal","key","stream","sequence"] and (.key|test("^SHA256:[A-Za-z0-9+/]{43}$")) and (.stream|stream) and (.sequence|int) and .sequence <= 9999999999;
def grant($may): keys_unsorted == ["principal","namespaces","key"] and (.principal|principal) and (.key|key) and
	(.namespaces|length > 0 and length == (unique|length)) and (.namespaces - $may|length) == 0;
def limits: ([.retired[], .revoked[]|limit]|all) and ([.retired[], .revoked[]|.key]|length == (unique|length)) and ([.revoked[].sequence > 0]|all);
(.dossier|word) and (.version|pos) and .version <= 9999999999 and (.previous|hex) and (.created|time) and ((.version == 1) == (.previous == ("0"*64))) and limits and
([.keys[].key]|length == (unique|length)) and '
document_shape=$trust_shape'
keys_unsorted == ["format","dossier","version","previous","created","threshold","roots","keys","retired","revoked"] and .format == "caisseauto/trust/1" and
(.threshold|pos) and .threshold <= (.roots|length) and (.roots|length) <= 16 and
([.roots[]|keys_unsorted == ["principal","key"] and (.principal|test("^root-[a-z0-9]{1,16}@[a-z0-9._-]{1,64}$")) and (.key|key)]|all) and
([.roots[].key]|length == (unique|length)) and ([.roots[].principal|role]|length == (unique|length)) and
([.keys[]|(.principal|role == "server") and grant(["manifest@caisseauto","head@caisseauto","receipt@caisseauto","tills@caisseauto"]) or
	(.principal|role == "release") and grant(["package@caisseauto","head@caisseauto"])]|all) and
(([.roots[].key] - [.keys[].key]) == [.roots[].key])'
list_shape=$trust_shape'
keys_unsorted == ["format","dossier","version","previous","created","signer","keys","retired","revoked"] and .format == "caisseauto/tills/1" and
(.signer|principal and role == "server") and (.dossier|ascii_downcase) as $of |
([.keys[]|(.principal|test("^till-[a-z0-9_-]{1,32}@") and split("@")[1] == $of) and grant(["tickets@caisseauto","head@caisseauto"])]|all)'

# rooted FILE ROOTS THRESHOLD: so many of the roots have signed it.
rooted() {
	count=0
	for p in $(cut -d ' ' -f 1 "$2"); do
		for sig in "$1".root-*.sig; do
			regular "$sig" && [ "$(size "$sig")" -le 16384 ] && armored "$sig" || continue
			if ssh-keygen -Y verify -f "$2" -I "$p" -n trust@caisseauto -s "$sig" <"$1" >/dev/null 2>&1; then
				count=$((count + 1))
				break
			fi
		done
	done
	[ "$count" -ge "$3" ]
}

# prints FILE: "FINGERPRINT" of the keys in a list, one to a line.
prints() {
	sed -n 's/^[^ ]* namespaces="[^"]*" //p' "$1" >"$tmp/keys"
	[ ! -s "$tmp/keys" ] || ssh-keygen -l -f "$tmp/keys" | cut -d ' ' -f 2
}

# kept OLD NEW KEYS: no limit of a key that is still listed was lifted.
kept() {
	prints "$3" >"$tmp/prints"
	while read -r _ kind _ key where n; do
		grep -qxF "$key" "$tmp/prints" || continue
		read -r now m <<-END
			$(awk -v k="$key" -v w="$where" '$4 == k && $5 == w { print $2, $6 }' "$2")
		END
		case $kind:$now in
		revoked:revoked | retired:retired) [ "$m" -le "$n" ] || return 1 ;;
		retired:revoked) [ "$m" -le $((n + 1)) ] || return 1 ;;
		*) return 1 ;;
		esac
	done <"$1"
}

# Why a document is not the next one; it is then in force no further.
no() { why="$1" && return 1; }

# next_document FILE: takes over the next version.
next_document() {
	read -r version threshold known <"$tmp/t.head"
	rooted "$1" "$tmp/t.roots" "$threshold" || no "not signed by $threshold of version $version's roots" || return
	jq -e "$common $document_shape" "$1" >"$tmp/said" 2>/dev/null && jq . "$1" 2>/dev/null | cmp -s - "$1" || no "not the fields, or not the encoding, that a trust document has" || return
	[ "$(get dossier "$1")" = "$code" ] && [ "$(get version "$1")" = $((version + 1)) ] || no "not version $((version + 1)) of $code" || return
	[ "$(get previous "$1")" = "$known" ] || no "it follows another document than version $version" || return
	jq -r '.roots[]|"\(.principal) namespaces=\"trust@caisseauto\" \(.key)"' "$1" >"$tmp/n.roots"
	jq -r ".keys|$grants" "$1" >"$tmp/n.keys"
	jq -r "$limits" "$1" >"$tmp/n.limits"
	awk 'NR == FNR { split($1, p, "@"); was[p[1]] = $0; next } { split($1, p, "@"); if (p[1] in was && was[p[1]] != $0) exit 1 }' \
		"$tmp/t.roots" "$tmp/n.roots" || no "a known root has another key" || return
	kept "$tmp/t.limits" "$tmp/n.limits" "$tmp/n.keys" || no "it lifts what was retired or revoked" || return
	rooted "$1" "$tmp/n.roots" "$(get threshold "$1")" || no "not signed by enough of its own roots" || return
	echo "$((version + 1)) $(get threshold "$1") $(digest "$1")" >"$tmp/t.head"
	for f in roots keys limits; do mv "$tmp/n.$f" "$tmp/t.$f"; done
}

# next_list FILE NUMBER: takes over a list of tills.
next_list() {
	view
	signers=$tmp/view
	armored "$1.sig" 2>/dev/null && identify "$1" "$1.sig" tills@caisseauto || no "no server that the roots trust signed it" || return
	! ended "$key" "$code" || no "its key was retired or revoked" || return
	jq -e "$common $list_shape" "$1" >"$tmp/said" 2>/dev/null && jq . "$1" 2>/dev/null | cmp -s - "$1" || no "not the fields, or not the encoding, that a list of tills has" || return
	case " $who " in *" $(get signer "$1") "*) ;; *) no "signed in another's name" || return ;; esac
	[ "$(get dossier "$1")" = "$code" ] && [ "$(get version "$1")" = "$2" ] || no "not list $2 of $code" || return
	if [ -s "$tmp/t.list" ]; then
		read -r version known <"$tmp/t.list"
		[ "$2" != $((version + 1)) ] || [ "$(get previous "$1")" = "$known" ] || no "it follows another list than $version" || return
	fi
	echo "$2 $(digest "$1")" >"$tmp/t.list"
	jq -r ".keys|$grants" "$1" >"$tmp/t.tills"
	jq -r "$limits" "$1" >"$tmp/t.tlimits"
}

# backward FOLDER PREFIX NUMBER DIGEST: each document names the one before it.
backward() {
	number=$3 want=$4
	while [ "$number" -gt 0 ]; do
		name=$2$(printf '%010d' "$number").json
		if [ ! -e "$1/$name" ] && [ ! -L "$1/$name" ]; then
			fault completeness "$stream/$name" "it is not there"
			return
		fi
		saw chain
		if ! regular "$1/$name" || [ "$(digest "$1/$name" 2>/dev/null)" != "$want" ]; then
			fault chain "$stream/$name" "it is not the document that is known, or that the one after it names"
			return
		fi
		want=$(get previous "$1/$name")
		number=$((number - 1))
	done
}

# newest FOLDER PREFIX: the highest number of a document there, 0 for none.
newest() {
	n=$(find "$1/." ! -name . -prune -name "$2[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].json" 2>/dev/null |
		sed 's|.*/'"$2"'0*\([0-9]*\)\.json$|\1|' | sort -n | tail -n 1)
	echo "${n:-0}"
}

# walk FOLDER: the documents in it, from those that are known on.
walk() {
	saw completeness
	read -r version threshold known <"$tmp/t.head"
	backward "$1" '' "$version" "$known"
	top=$(newest "$1" '')
	while read -r version threshold known <"$tmp/t.head" && [ "$version" -lt "$top" ]; do
		name=$(printf '%010d' $((version + 1))).json
		if [ ! -e "$1/$name" ] && [ ! -L "$1/$name" ]; then
			fault completeness "$stream/$name" "it is not there, and version $top is"
			break
		fi
		saw trust
		if ! regular "$1/$name" || [ "$(size "$1/$name")" -gt 1048576 ] || ! next_document "$1/$name"; then
			fault trust "$stream/$name" "${why:-cannot be read}; version $version stays in force"
			break
		fi
	done
	top=$(newest "$1" tills-) version=0 known=
	[ ! -s "$tmp/t.list" ] || read -r version known <"$tmp/t.list"
	if [ "$top" -gt "$version" ]; then
		name=tills-$(printf '%010d' "$top").json
		saw trust
		if ! regular "$1/$name" || ! regular "$1/$name.sig" || [ "$(size "$1/$name")" -gt 1048576 ] || ! next_list "$1/$name" "$top"; then
			fault trust "$stream/$name" "${why:-cannot be read}; list $version of tills stays in force"
			return
		fi
		read -r version known <"$tmp/t.list"
	fi
	backward "$1" tills- "$version" "$known"
}

# a_trust DOSSIER-FOLDER CODE [WHOLE]: finds out whose signatures count, in
# $tmp/view and $tmp/limits. With WHOLE the documents have verdicts.
a_trust() {
	given=$signers code=$2 was=$stream stream=$2/trust why=
	cp "$tmp/faults" "$tmp/faults.before"
	for c in $checks; do eval "is_$c=unchecked"; done
	known_here=
	if whose "$code"; then known_here=1; fi
	any=$(ls "$1/trust" 2>/dev/null | grep -E '\.json|^tills-' | head -n 1)
	row=
	if [ -n "$1" ] && { [ -L "$1/trust" ] || { [ -e "$1/trust" ] && ! ls "$1/trust" >/dev/null 2>&1; }; }; then
		fault completeness "$stream" "cannot be read"
		row=1
	elif [ -n "$1" ] && [ -n "$known_here" ]; then
		row=1
		walk "$1/trust"
		if cmp -s "$tmp/faults" "$tmp/faults.before"; then
			saw trust
			words "$code" >"$tmp/words"
			if [ ! -e "$1/trust/allowed_signers" ] && [ ! -L "$1/trust/allowed_signers" ]; then
				fault completeness "$stream/allowed_signers" "it is not there"
			elif ! regular "$1/trust/allowed_signers" || ! cmp -s "$tmp/words" "$1/trust/allowed_signers"; then
				fault trust "$stream/allowed_signers" "it does not say what the signed documents say"
			fi
		fi
	elif [ -n "$any" ]; then
		row=1
		echo "$stream${tab}trust documents lie here, and the list of keys knows none of them to begin with" >>"$tmp/notes"
	fi
	signers=$given
	view
	if [ -n "${3:-}" ]; then
		batches=0
		[ -z "$row" ] || verdict
	else
		cp "$tmp/faults.before" "$tmp/faults"
	fi
	stream=$was
}

# ended KEY DOSSIER: the key signs no heads, receipts and lists any more.
ended() { awk -v k="$1" -v d="$2/" '$4 == k && index($5, d) == 1 { found = 1 } END { exit !found }' "$tmp/limits"; }

# counts KEY STREAM NUMBER: what the key signed counts for that batch.
counts() {
	awk -v k="$1" -v s="$2" -v d="${2%%/*}/" -v n="$3" '
		$4 != k || index($5, d) != 1 { next }
		$5 != s || ($2 == "revoked" && n >= $6) || ($2 == "retired" && n > $6) { bad = 1 }
		END { exit bad }' "$tmp/limits"
}
