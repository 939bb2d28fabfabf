package model

// usage is what an answer costs, in tokens. Cached is a part of input, reasoning a part of output.
type usage struct{ input, cached, output, reasoning int64 }

// cacheBlock is the granularity of OpenAI's prompt cache, cacheMin the shortest prompt that is cached, both in tokens:
// https://platform.openai.com/docs/guides/prompt-caching
const (
	cacheBlock = 128
	cacheMin   = 1024
)

// measure works the usage out from sizes: four bytes are about a token. From the second request of a turn on, nine
// tenths of the input, the part that was sent before, count as cached. Every answer took a little thinking.
func (x *exchange) measure() usage {
	u := usage{input: int64(len(x.body)+3) / 4, reasoning: 64}
	if x.turn.step > 0 && u.input >= cacheMin {
		u.cached = u.input * 9 / 10 / cacheBlock * cacheBlock
	}
	u.output = u.reasoning + int64(len(x.turn.text)+len(x.turn.tool)+len(x.turn.arguments)+3)/4
	return u
}

// pieces cuts text into what a stream carries at a time.
func pieces(text string) []string {
	const size = 24
	var out []string
	runes := []rune(text)
	for len(runes) > size {
		out = append(out, string(runes[:size]))
		runes = runes[size:]
	}
	return append(out, string(runes))
}
