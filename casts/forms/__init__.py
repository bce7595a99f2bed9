"""Forms for JSON: from a schema to fields, from a value to what is typed in them, and back. Pure.

`planning` makes `Field`s of a schema, `filling` has a value typed in them, `reading` makes a value of what was typed,
and `showing` what a template shows. What no form can hold is typed as JSON, as a part or as a whole. Whether a value is
any good is not judged here: that is done where every cast is placed.
"""
