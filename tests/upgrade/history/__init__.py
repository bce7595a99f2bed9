"""What databases hold that have seen every release: chapters, each of rows as they were stored before a migration.

To begin with each chapter's rows, go on to today's tables, back to the first chapter and to today again is one journey,
because to go through all migrations takes seconds. The chapters know each other's rows by their own keys and names.
"""
