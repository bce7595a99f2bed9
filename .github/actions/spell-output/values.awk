# Writes the lines of $SPELL_VALUES, each name=value, as a JSON object of texts into `result`; or prints what is wrong.
function replaced(text, old, new, done, at) { # not gsub: awks differ in what backslashes mean to it
  done = ""
  while ((at = index(text, old)) > 0) {
    done = done substr(text, 1, at - 1) new
    text = substr(text, at + length(old))
  }
  return done text
}
function quoted(text, i) {
  text = replaced(replaced(text, "\\", "\\\\"), "\"", "\\\"")
  for (i = 1; i < 32; i++) text = replaced(text, sprintf("%c", i), sprintf("\\u%04x", i))
  return "\"" text "\""
}
BEGIN {
  count = split(ENVIRON["SPELL_VALUES"], lines, "\n")
  for (number = 1; number <= count; number++) {
    line = lines[number]
    sub(/\r$/, "", line)
    if (line ~ /^[ \t]*$/) continue
    at = index(line, "=")
    name = at ? substr(line, 1, at - 1) : ""
    gsub(/^[ \t]+|[ \t]+$/, "", name)
    if (name == "") {
      print "line " number " is not name=value."
      exit 1
    }
    if (name in seen) {
      print name " is there twice."
      exit 1
    }
    seen[name] = 1
    text = text (text ? ",\n  " : "{\n  ") quoted(name) ": " quoted(substr(line, at + 1))
  }
  print (text ? text "\n}" : "{}") > result
}
