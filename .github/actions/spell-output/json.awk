# Ends with 0 if the file is one JSON value, else prints why it is none and ends with 1.
# Line by line, strings and then numbers and words become one character each; what is left, brackets, commas and
# colons, is then reduced from the inside out, a level at a time.
function bad(why) {
  print why
  failed = 1
  exit 1
}
NR == 1 { sub(/^\357\273\277/, "") } # a byte order mark
{
  sub(/\r$/, "")
  if ($0 ~ /[\001-\010\013-\037]/) bad("line " NR " holds a control character.")
  gsub(/"([^"\\\001-\037]|\\["\\\/bfnrt]|\\u[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F])*"/, "\001")
  if ($0 ~ /["\\]/) bad("line " NR " holds a string that does not end, or a \\ that begins nothing.")
  gsub(/true|false|null/, "\002")
  gsub(/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/, "\002")
  gsub(/[ \t]/, "")
  if ($0 ~ /[^][{},:\001\002]/) bad("line " NR " holds something that is neither text in double quotes nor a number.")
  left = left $0
}
END {
  if (failed) exit 1
  for (level = 0; level <= 100; level++) {
    changed = gsub(/\[([\001\002](,[\001\002])*)?\]/, "\002", left)
    changed += gsub(/\{(\001:[\001\002](,\001:[\001\002])*)?\}/, "\002", left)
    if (!changed) break
  }
  if (left == "") bad("it is empty.")
  if (level > 100) bad("it is nested deeper than 100 levels.")
  if (left !~ /^[\001\002]$/) bad("a bracket, a comma, a colon or a name is missing, or there is one too many.")
}
