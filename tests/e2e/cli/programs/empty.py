import afield

app = afield.App("empty")
