"""A search from Python: functions and objects in, a result out; no file is needed."""
