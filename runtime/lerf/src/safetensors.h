// Reading LUTs from .safetensors files: a JSON header, which says what lies where, and the values.
#pragma once

#include <cctype>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common.h"

namespace safetensors {

// What the metadata of a file of LUTs say, as models/checkpoints writes them: `model`, JSON {"name": "lerf-lut", "args":
// {"kernel", "modes", "support", "antialias"}}, and `tables`, JSON with the "interval" of the samples.
constexpr const char *METADATA = "__metadata__", *MODEL = "model", *TABLES = "tables", *NAME = "lerf-lut";

constexpr const char *NO_HEADER = "it is no .safetensors file, or its header is damaged";
constexpr const char *NO_TABLES = "its metadata describe no look-up tables of LeRF";
constexpr size_t LONGEST_HEADER = 1 << 20, LARGEST_FILE = 1 << 28;  // bytes
constexpr size_t MOST_ENTRIES = 1000, MOST_NUMBERS = 16;

struct Entry {
    std::string dtype;
    std::vector<uint64_t> shape, offsets;
};

struct File {
    std::map<std::string, std::string> metadata;
    std::map<std::string, Entry> entries;
    std::vector<char> content;
    size_t start = 0;  // of the values

    // Where the int8 values of a tensor (rows, columns) are.
    const int8_t *values(const std::string &name, uint64_t rows, uint64_t columns) const {
        const auto found = entries.find(name);
        require(found != entries.end(), "a look-up table is missing");
        const Entry &entry = found->second;
        require(entry.dtype == "I8", "a look-up table is not int8");
        require(entry.shape == std::vector<uint64_t>{rows, columns}, "a look-up table has another shape");
        const uint64_t size = content.size() - start;
        require(entry.offsets.size() == 2 && entry.offsets[0] <= size && entry.offsets[1] <= size &&
                    entry.offsets[1] - entry.offsets[0] == rows * columns && entry.offsets[0] <= entry.offsets[1],
                "a look-up table lies outside the file");
        return reinterpret_cast<const int8_t *>(content.data() + start + entry.offsets[0]);
    }
};

// Parses JSON as far as headers need it.
class Json {
  public:
    Json(const char *from, const char *end) : at(from), end(end) {}
    explicit Json(const std::string &text) : Json(text.data(), text.data() + text.size()) {}

    // Calls member(name) for every member of an object, which reads its value.
    template <class Member>
    void object(const Member &member) {
        expect('{');
        if (next_is('}')) return;
        size_t count = 0;
        do {
            require(++count <= MOST_ENTRIES, NO_HEADER);
            const std::string name = text();
            expect(':');
            member(name);
        } while (next_is(','));
        expect('}');
    }

    // Escaped characters stand for themselves: quotes and backslashes do, and no name that is looked for has others.
    std::string text() {
        expect('"');
        std::string text;
        for (; at < end && *at != '"'; ++at) {
            if (*at == '\\' && ++at == end) refuse();
            text += *at;
        }
        expect('"');
        return text;
    }

    std::vector<uint64_t> numbers() {
        std::vector<uint64_t> numbers;
        expect('[');
        if (next_is(']')) return numbers;
        do {
            const std::string digits = word();
            require(!digits.empty() && digits.size() <= 15 && numbers.size() < MOST_NUMBERS, NO_HEADER);
            uint64_t number = 0;
            for (const char digit : digits) {
                require(digit >= '0' && digit <= '9', NO_HEADER);
                number = 10 * number + uint64_t(digit - '0');
            }
            numbers.push_back(number);
        } while (next_is(','));
        expect(']');
        return numbers;
    }

    // A text, a number, true or false, as a text.
    std::string scalar() {
        skip_blanks();
        return at < end && *at == '"' ? text() : word();
    }

    // Passes over any value.
    void pass(int depth = 0) {
        require(depth < DEEPEST, NO_HEADER);
        skip_blanks();
        if (at < end && *at == '{')
            object([&](const std::string &) { pass(depth + 1); });
        else if (next_is('[')) {
            if (next_is(']')) return;
            do pass(depth + 1);
            while (next_is(','));
            expect(']');
        } else
            require(!scalar().empty() || at[-1] == '"', NO_HEADER);
    }

    void finish() {
        skip_blanks();
        require(at == end, NO_HEADER);
    }

  private:
    [[noreturn]] static void refuse() { throw Refusal{NO_HEADER}; }

    void skip_blanks() {
        while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
    }

    bool next_is(char wanted) {
        skip_blanks();
        if (at == end || *at != wanted) return false;
        ++at;
        return true;
    }

    void expect(char wanted) {
        if (!next_is(wanted)) refuse();
    }

    // Letters, digits and what else numbers have.
    std::string word() {
        skip_blanks();
        std::string word;
        for (; at < end && (std::isalnum(uint8_t(*at)) || *at == '-' || *at == '+' || *at == '.'); ++at) word += *at;
        return word;
    }

    static constexpr int DEEPEST = 32;
    const char *at, *const end;
};

inline void read_header(Json json, File &file) {
    json.object([&](const std::string &name) {
        if (name == METADATA) {
            json.object([&](const std::string &key) { file.metadata[key] = json.text(); });
            return;
        }
        Entry entry;
        json.object([&](const std::string &key) {
            if (key == "dtype")
                entry.dtype = json.text();
            else if (key == "shape")
                entry.shape = json.numbers();
            else if (key == "data_offsets")
                entry.offsets = json.numbers();
            else
                json.pass();
        });
        require(file.entries.emplace(name, entry).second, NO_HEADER);
    });
    json.finish();
}

// The arguments of the LUTs' model, as texts.
inline std::map<std::string, std::string> arguments_of(const File &file) {
    const auto model = file.metadata.find(MODEL), tables = file.metadata.find(TABLES);
    require(model != file.metadata.end() && tables != file.metadata.end(), NO_TABLES);
    std::string name, interval;
    std::map<std::string, std::string> arguments;
    Json json(model->second);
    json.object([&](const std::string &key) {
        if (key == "name")
            name = json.text();
        else if (key == "args")
            json.object([&](const std::string &argument) { arguments[argument] = json.scalar(); });
        else
            json.pass();
    });
    json.finish();
    Json layout(tables->second);
    layout.object([&](const std::string &key) {
        if (key == "interval")
            interval = layout.scalar();
        else
            layout.pass();
    });
    layout.finish();
    require(name == NAME, NO_TABLES);
    require(interval == "16", "its look-up tables are not sampled every 16 grey levels");
    return arguments;
}

inline File read(const char *path) {
    const std::unique_ptr<FILE, int (*)(FILE *)> stream(std::fopen(path, "rb"), std::fclose);
    require(stream != nullptr, "the file cannot be opened");
    File file;
    char part[1 << 16];
    for (size_t count; (count = std::fread(part, 1, sizeof part, stream.get())) > 0;) {
        file.content.insert(file.content.end(), part, part + count);
        require(file.content.size() <= LARGEST_FILE, "the file is larger than files of look-up tables are");
    }
    require(!std::ferror(stream.get()), "the file cannot be read");
    require(file.content.size() >= 8, NO_HEADER);
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | uint8_t(file.content[size_t(i)]);
    require(length <= LONGEST_HEADER && length <= file.content.size() - 8, NO_HEADER);
    file.start = 8 + size_t(length);
    const char *header = file.content.data() + 8;
    read_header(Json(header, header + length), file);
    return file;
}

}  // namespace safetensors
